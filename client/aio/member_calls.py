"""The calls about the members, for asyncio: names, results and errors of the threaded client.

Reading order 8 of aio. Changes are made by metastore/client/members.py, as for threads; what the
arguments mean is written in metastore/client/member_calls.py.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from metastore.client import members
from metastore.client.calls import to_level
from metastore.client.futures import decode_only
from metastore.client.member_calls import change_limit
from metastore.client.member_results import LeaderMoved, Member, MemberList
from metastore.client.results import BatchResult
from metastore.transport import member_ops
from metastore.transport.envelope import ReadLevel
from metastore.transport.member_ops import Change
from metastore.transport.schema import Operation


class MemberCalls(ABC):
    """A change returns the members as they are after it, by id."""

    _timeout_s: float

    @abstractmethod
    async def _do(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> list[BatchResult]: ...

    async def members(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        results = await self._do([member_ops.members()], timeout_s, to_level(level))
        return decode_only(results, MemberList).members

    async def member_add(
        self,
        node_id: int,
        *,
        peer: str,
        client: str,
        status: str,
        snapshot: str,
        role: str = "voter",
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> tuple[Member, ...]:
        change = members.add(
            node_id,
            peer=peer,
            client=client,
            status=status,
            snapshot=snapshot,
            role=role,
            priority=priority,
        )
        return await self.member_change([change], timeout_s=timeout_s)

    async def member_promote(
        self, node_id: int, *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        changes = [members.promote(node_id)]
        return await self.member_change(changes, force=force, timeout_s=timeout_s)

    async def member_remove(
        self, *node_ids: int, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        changes = [members.remove(node_id) for node_id in node_ids]
        return await self.member_change(changes, force=force, timeout_s=timeout_s)

    async def member_update(
        self,
        node_id: int,
        *,
        peer: str | None = None,
        client: str | None = None,
        status: str | None = None,
        snapshot: str | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
    ) -> tuple[Member, ...]:
        change = members.update(
            node_id, peer=peer, client=client, status=status, snapshot=snapshot, priority=priority
        )
        return await self.member_change([change], timeout_s=timeout_s)

    async def member_replace(
        self, node_id: int, *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        deadline = time.monotonic() + self._change_limit(timeout_s)
        known = await self.members(timeout_s=deadline - time.monotonic())
        change = members.replacement_of(known, node_id)
        left_s = deadline - time.monotonic()
        return await self.member_change([change], force=force, timeout_s=left_s)

    async def member_change(
        self, changes: Sequence[Change], *, force: bool = False, timeout_s: float | None = None
    ) -> tuple[Member, ...]:
        done = await self._change(members.change_of(changes, force=force), timeout_s)
        return decode_only(done, MemberList).members

    async def move_leader(self, node_id: int = 0, *, timeout_s: float | None = None) -> int:
        done = await self._change(members.move_of(node_id), timeout_s)
        return decode_only(done, LeaderMoved).leader_id

    async def _change(self, operation: Operation, timeout_s: float | None) -> list[BatchResult]:
        return await self._do([operation], self._change_limit(timeout_s))

    def _change_limit(self, timeout_s: float | None) -> float:
        return change_limit(self._timeout_s, timeout_s)
