"""etcd's Election service (v3election): who leads under a name, and with what to say.

The line that candidates wait in is line.py's; whoever is in front leads. A leader is told by its
key and the revision of the key's creation, which the caller keeps and brings again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import WatchCompacted
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import election
from metastore.api.services import line
from metastore.api.services.watch_messages import key_value
from metastore.transport.schema import KEY_NOT_PROVIDED, put, txn
from metastore.transport.watch_frames import KeyValue

NO_LEADER = "election: no leader"
NOT_LEADER = "election: not leader"
NO_LEADER_KEY = '"leader" field must be provided'
MOD: Final = 3  # where a kv has its mod_revision
VERSION: Final = 4


class Election:
    """For one event loop. All raise ApiError, mostly Unknown, as etcd's."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._leaving: set[asyncio.Task[None]] = set()

    async def campaign(self, request: Any, caller: Caller) -> Any:
        """Answers when the candidate leads. Fails when its lease ends before; etcd's would answer
        that it leads."""
        try:
            return await self._campaign(request, caller)
        except ApiError as error:
            raise line.as_concurrency_error(error) from None

    async def proclaim(self, request: Any, caller: Caller) -> Any:
        leader = _leader_of(request)
        write = put(leader.key, request.value, lease=leader.lease)
        revision = await self._as_leader(caller, leader.key, leader.rev, write)
        return election.ProclaimResponse(header=self._link.header(revision))

    async def leader(self, request: Any, caller: Caller) -> Any:
        revision, found = await self._look(request.name, caller)
        if found is None:
            raise ApiError(Status.UNKNOWN, NO_LEADER)
        return self._leader_response(revision, found)

    async def observe(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """The leader now, if there is one, and every leader to come, again when its value
        changes."""
        while True:
            revision, found = await self._look(request.name, caller)
            try:
                if found is None:
                    found = await self._first_candidate(request.name, revision + 1)
                    revision = found[MOD]
                yield self._leader_response(revision, found)
                events = line.changes(self._link, found[0], b"", revision + 1)
                async with aclosing(events) as changed:
                    async for kv in changed:
                        if not kv[VERSION]:
                            break
                        yield self._leader_response(kv[MOD], kv)
            except WatchCompacted:
                continue  # what happened meanwhile is gone; who leads now can still be seen

    async def resign(self, request: Any, caller: Caller) -> Any:
        """Whether or not it led, as in etcd."""
        leader = _leader_of(request)
        try:
            revision = await line.leave(self._link, caller, leader.key, leader.rev)
        except ApiError as error:
            raise line.as_concurrency_error(error) from None
        return election.ResignResponse(header=self._link.header(revision))

    async def _campaign(self, request: Any, caller: Caller) -> Any:
        name, value = request.name, request.value
        lease = await line.lease_of(self._link, caller, request.lease)
        taking = asyncio.ensure_future(line.take_place(self._link, caller, name, lease, value))
        try:
            place = await asyncio.shield(taking)
            if not place.is_new and place.value != value:
                write = put(place.key, value, lease=lease)
                await self._as_leader(caller, place.key, place.revision, write)
            is_elected = place.is_first
            if not is_elected:
                turn = await line.wait_for_turn(self._link, caller, name, place)
                is_elected = turn is not None
        except asyncio.CancelledError:
            leaving = asyncio.ensure_future(self._leave(taking, caller))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise
        if not is_elected:
            raise ApiError(Status.UNKNOWN, NOT_LEADER)
        return election.CampaignResponse(
            header=self._link.header(place.store_revision),
            leader=election.LeaderKey(name=name, key=place.key, rev=place.revision, lease=lease),
        )

    async def _leave(self, taking: "asyncio.Future[line.Place]", caller: Caller) -> None:
        try:
            place = await taking
            await line.leave(self._link, caller, place.key, place.revision)
        except ApiError:
            return  # not in line, or the lease's end will take it out

    async def _as_leader(self, caller: Caller, key: bytes, revision: int, write: Any) -> int:
        """Writes only while the key is that leader's; the revision."""
        if not key:
            raise ApiError(Status.UNKNOWN, KEY_NOT_PROVIDED)
        operation = txn([line.is_created_at(key, revision)], [write])
        try:
            result = await self._link.ask(caller, operation)
        except ApiError as error:
            raise line.as_concurrency_error(error) from None
        if not result[2]:
            raise ApiError(Status.UNKNOWN, NOT_LEADER)
        return int(result[1])

    async def _look(self, name: bytes, caller: Caller) -> tuple[int, KeyValue | None]:
        try:
            result = await self._link.ask(caller, line.oldest(name))
        except ApiError as error:
            raise line.as_concurrency_error(error) from None
        return result[1], (result[2][0] if result[2] else None)

    async def _first_candidate(self, name: bytes, revision: int) -> KeyValue:
        prefix = line.prefix_of(name)
        events = line.changes(self._link, prefix, line.end_of(prefix), revision)
        async with aclosing(events) as changed:
            async for kv in changed:
                if kv[VERSION]:
                    return kv
        raise ApiError(Status.UNKNOWN, NO_LEADER)

    def _leader_response(self, revision: int, kv: KeyValue) -> Any:
        return election.LeaderResponse(header=self._link.header(revision), kv=key_value(kv))


def _leader_of(request: Any) -> Any:
    if not request.HasField("leader"):
        raise ApiError(Status.UNKNOWN, NO_LEADER_KEY)
    if not request.leader.key:
        raise ApiError(Status.UNKNOWN, KEY_NOT_PROVIDED)
    return request.leader
