"""Ordinary operations by PyPI's aetcd (asyncio), as its documentation shows them."""

import asyncio
import io
from typing import Any

import aetcd
from told import Told

told = Told()
ANSWER_S = 20


async def keys_and_values(client: Any) -> None:
    base = (await client.put(b"base", b"0")).header.revision
    await client.put(b"a/1", b"one")
    put = await client.put(b"a/1", b"two", prev_kv=True)
    told.tell("put", [put.prev_kv.value, put.header.revision - base])
    await client.put(b"a/2", b"zwei")
    found = await client.get(b"a/1")
    told.tell("get", [found.value, found.version, found.mod_revision - base, found.lease])
    told.tell("get nothing", await client.get(b"none"))
    prefix = await client.get_prefix(b"a/", sort_order="descend", sort_target="mod")
    told.tell("prefix", [prefix.count, [(kv.key, kv.value) for kv in prefix]])
    told.tell("range", len(await client.get_range(b"a/1", b"a/2")))
    told.tell("all", bool(await client.get_all(keys_only=True)))
    swaps = [await client.replace(b"a/2", value, b"zwo") for value in (b"zwei", b"zwei")]
    told.tell("swap", swaps)
    deleted = await client.delete(b"a/2", prev_kv=True)
    told.tell("delete", [deleted.prev_kv.value, await client.delete(b"a/2")])
    told.tell("delete prefix", (await client.delete_prefix(b"a/")).deleted)


async def transactions(client: Any) -> None:
    t = client.transactions
    done, answers = await client.transaction(
        compare=[t.version(b"t/1") == 0, t.create(b"t/1") == 0],
        success=[t.put(b"t/1", b"x"), t.get(b"t/1")],
        failure=[],
    )
    told.tell("txn", [done, answers[1][0][0]])
    compare = [t.mod(b"t/1") > 2**40, t.value(b"t/1") != b"x"]
    done, answers = await client.transaction(compare, [], [t.delete(b"t/1")])
    told.tell("txn else", [done, answers[0].response_delete_range.deleted])


async def leases(client: Any) -> None:
    lease = await client.lease(60)
    await client.put(b"l/1", b"x", lease=lease)
    told.tell("lease", [lease.ttl, await lease.granted_ttl(), list(await lease.keys())])
    told.tell("keep alive", (await lease.refresh()).TTL)
    await lease.revoke()
    told.tell("revoked", [await client.get(b"l/1"), (await client.get_lease_info(lease.id)).TTL])
    async with client.lock(b"resource", ttl=30) as lock:
        told.tell("lock", [await lock.is_acquired(), (await lock.refresh()).TTL])
        waiting = asyncio.ensure_future(client.lock(b"resource", ttl=30).acquire(timeout=ANSWER_S))
        told.tell("second lock", await client.lock(b"resource").acquire(timeout=0))
    told.tell("waited for the lock", await waiting)
    await client.delete(b"resource")


async def watches(client: Any) -> None:
    put = await client.put(b"w/1", b"a")
    watch = await client.watch_prefix(b"w/", start_revision=put.header.revision, prev_kv=True)
    await client.put(b"w/2", b"b")
    await client.delete(b"w/2")
    seen = []
    async for event in watch:
        seen.append((event.kind, event.kv.key, event.kv.value, bool(event.prev_kv)))
        if len(seen) == 3:
            break
    told.tell("watch", [*seen, watch.watch_id >= 0])
    await watch.cancel()
    only = {"kind": aetcd.EventKind.PUT, "start_revision": put.header.revision}
    once = asyncio.ensure_future(client.watch_once(b"w/3", timeout=ANSWER_S, **only))
    await client.put(b"w/3", b"c")
    told.tell("watch once", (await once).kv.value)
    try:
        await client.watch_once(b"w/4", timeout=0.1)
    except aetcd.WatchTimeoutError:
        told.tell("watch in vain")


async def cluster(client: Any) -> None:
    members = [member async for member in client.members()]
    told.tell("members", sorted(len(m.client_urls) for m in members))
    status = await client.status()
    told.tell("status", [status.leader.id in {m.id for m in members}, status.db_size > 0])
    told.tell("numbers", [status.raft_index > 0, status.raft_term > 0])
    try:
        told.tell("hash", await client.hash() > 0)
    except aetcd.ClientError as error:  # the library asks for it without its token
        told.tell("hash", str(error))
    told.tell("alarms", [alarm async for alarm in client.list_alarms()])
    await client.defragment()
    data = io.BytesIO()
    await client.snapshot(data)
    told.tell("snapshot", [data.tell() > 4096, data.tell() % 512])
    compacted = (await client.put(b"c", b"")).header.revision
    await client.compact(compacted)


async def wrong_password(host: str, port: int) -> None:
    try:
        async with aetcd.Client(host, port, username="root", password="wrong"):
            pass
    except Exception as error:
        told.tell("wrong password", type(error).__name__)


async def main() -> None:
    host, port = told.host_ports[1]
    credentials = {"username": told.user, "password": told.password} if told.user else {}
    if told.user:
        await wrong_password(host, port)
    async with aetcd.Client(host, port, timeout=ANSWER_S, **credentials) as client:
        for part in (keys_and_values, transactions, leases, watches, cluster):
            await part(client)
    told.end()


asyncio.run(main())
