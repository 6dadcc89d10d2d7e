"""Ordinary operations by PyPI's etcd3 (python-etcd3), as its documentation shows them.

Its generated code is older than the installed protobuf allows, but for its pure Python
implementation: the test sets PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION for this process.
"""

import io
import queue
from contextlib import suppress
from typing import Any

import etcd3
from told import Told

told = Told()
CREDENTIALS = {"user": told.user, "password": told.password}


def keys_and_values(client: Any, base: int) -> None:
    client.put("a/1", "one")
    replaced = client.put("a/1", "two", prev_kv=True)
    told.tell("put", replaced.prev_kv.value)
    client.put("a/2", b"\xff\x00".hex())
    value, meta = client.get("a/1")
    revisions = [meta.create_revision - base, meta.mod_revision - base, meta.version]
    told.tell("get", [value, meta.key, revisions])
    told.tell("get nothing", client.get("none"))
    told.tell("get stale", client.get("a/1", serializable=True)[0] is not None)
    told.tell("prefix", [(v, m.key) for v, m in client.get_prefix("a/", sort_order="descend")])
    told.tell("range", [v for v, _ in client.get_range("a/1", "a/2")])
    told.tell("keys", client.get_prefix_response("a/", keys_only=True).count)
    told.tell("create", [client.put_if_not_exists(f"a/{n}", "3") for n in (1, 3)])
    told.tell("swap", [client.replace("a/3", "3", "4"), client.replace("a/3", "3", "5")])
    told.tell("delete", [client.delete("a/3"), client.delete("a/3")])
    told.tell("delete prefix", client.delete_prefix("a/").deleted)


def transactions(client: Any) -> None:
    t = client.transactions
    made = client.transaction(
        compare=[t.version("t/1") == 0, t.create("t/1") == 0, t.mod("t/1") < 1],
        success=[t.put("t/1", "x"), t.get("t/1"), t.txn([], [t.put("t/2", "y")], [])],
        failure=[],
    )
    told.tell("txn", [made[0], made[1][1][0][0], made[1][2].response_txn.succeeded])
    refused = client.transaction(
        compare=[t.value("t/1") == "other"], success=[], failure=[t.delete("t/1"), t.get("t/2")]
    )
    told.tell("txn else", [refused[0], refused[1][1][0][0]])


def leases(client: Any) -> None:
    lease = client.lease(60)
    client.put("l/1", "x", lease=lease)
    told.tell("lease", [lease.ttl, lease.granted_ttl, lease.remaining_ttl > 50, list(lease.keys)])
    told.tell("keep alive", [answer.TTL for answer in lease.refresh()])
    lease.revoke()
    told.tell("revoked", [client.get("l/1")[0], client.get_lease_info(lease.id).TTL])
    with client.lock("resource", ttl=30) as lock:
        told.tell("lock", [lock.is_acquired(), lock.refresh()[0].TTL])
    # A lock that is taken cannot be waited for: the library's call of tenacity is of the old form.
    told.tell("unlocked", client.lock("resource").acquire(timeout=5))
    client.delete("/locks/resource")


def watches(client: Any) -> None:
    client.put("w/1", "a")
    start = client.get("w/1")[1].mod_revision
    events, cancel = client.watch_prefix("w/", start_revision=start, prev_kv=True)
    client.put("w/2", "b")
    client.delete("w/2")
    seen = []
    for event in events:
        seen.append((type(event).__name__, event.key, event.value, event.prev_value))
        if len(seen) == 3:
            cancel()
    told.tell("watch", seen)
    called: queue.Queue[Any] = queue.Queue()
    watch_id = client.add_watch_callback("w/3", called.put)
    client.put("w/3", "c")
    told.tell("callback", called.get(timeout=10).events[0].value)
    client.cancel_watch(watch_id)
    client.compact(client.get("w/3")[1].mod_revision)
    events, _ = client.watch("w/1", start_revision=start)
    with suppress(etcd3.exceptions.RevisionCompactedError):
        told.tell("no compaction", [event.key for event in events])
    told.tell("compacted")


def cluster(client: Any) -> None:
    members = list(client.members)
    told.tell("members", sorted(len(m.client_urls) for m in members))
    status = client.status()
    told.tell("status", [status.leader.id in {m.id for m in members}, status.db_size > 0])
    told.tell("numbers", [status.raft_index > 0, status.raft_term > 0, client.hash() > 0])
    told.tell("alarms", list(client.list_alarms()))
    client.defragment()
    data = io.BytesIO()
    client.snapshot(data)
    told.tell("snapshot", [data.tell() > 4096, data.tell() % 512])


def wrong_password(host: str, port: int) -> None:
    try:
        etcd3.client(host=host, port=port, user="root", password="wrong")
    except Exception as error:
        told.tell("wrong password", [error.code().value[0], error.details()])


def main() -> None:
    host, port = told.host_ports[0]
    if told.user:
        wrong_password(host, port)
    with etcd3.client(host=host, port=port, timeout=20, **CREDENTIALS) as client:
        client.put("base", "0")
        keys_and_values(client, client.get("base")[1].mod_revision)
        transactions(client)
        leases(client)
        watches(client)
        cluster(client)
    several = [etcd3.client(host=h, port=p, timeout=20, **CREDENTIALS) for h, p in told.host_ports]
    for number, client in enumerate(several):
        client.put("everywhere", str(number))
        told.tell("seen everywhere", [other.get("everywhere")[0] for other in several])
    told.end()


main()
