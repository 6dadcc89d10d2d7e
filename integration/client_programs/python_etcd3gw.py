"""Ordinary operations by PyPI's etcd3gw (JSON over HTTP), as its documentation shows them."""

import base64
import threading
from typing import Any

import etcd3gw
import requests
from told import Told

told = Told()


def session_of(user: str, password: str) -> requests.Session:
    """The library has no words for users; its users hand it a session."""
    body = {"name": user, "password": password}
    answer = requests.post(f"{told.endpoints[2]}/v3/auth/authenticate", json=body, timeout=20)
    session = requests.Session()
    session.headers["Authorization"] = answer.json()["token"]
    return session


def keys_and_values(client: Any) -> None:
    told.tell("put", [client.put("a/1", "one"), client.put("a/2", b"two")])
    told.tell("get", [client.get("a/1"), client.get("none")])
    value, meta = client.get("a/1", metadata=True)[0]
    told.tell("meta", [value, meta["key"], meta["version"], sorted(meta)])
    told.tell("prefix", [v for v, _ in client.get_prefix("a/", sort_order="descend")])
    told.tell("limit", client.get("a/", range_end="a0", limit=1, sort_target="mod"))
    told.tell("all", len(client.get_all()) > 1)
    told.tell("create", [client.create("a/2", "x"), client.create("a/3", "x")])
    told.tell("swap", [client.replace("a/3", "x", "y"), client.replace("a/3", "x", "z")])
    told.tell("delete", [client.delete("a/3"), client.delete("a/3")])
    told.tell("delete prefix", client.delete_prefix("a/"))


def transactions(client: Any) -> None:
    key = base64.b64encode(b"t/1").decode()
    put = {"request_put": {"key": key, "value": key}}
    compare = [{"key": key, "target": "VERSION", "result": "EQUAL", "version": 0}]
    ask = {"compare": compare, "success": [put, {"request_range": {"key": key}}]}
    done = client.transaction({**ask, "failure": [{"request_delete_range": {"key": key}}]})
    told.tell("txn", [done["succeeded"], [sorted(answer) for answer in done["responses"]]])
    told.tell("txn else", sorted(client.transaction(ask)))


def leases(client: Any) -> None:
    lease = client.lease(ttl=60)
    client.put("l/1", "x", lease=lease)
    told.tell("lease", [lease.id > 0, lease.ttl() > 50, lease.keys(), lease.refresh()])
    lease.revoke()
    told.tell("revoked", [client.get("l/1"), lease.ttl(), lease.refresh()])
    with client.lock("resource", ttl=30) as lock:
        told.tell("lock", [lock.is_acquired(), lock.refresh()])
        told.tell("second lock", client.lock("resource").acquire())
    told.tell("unlocked", client.lock("resource").acquire())
    client.delete("/locks/resource")


def watches(client: Any) -> None:
    client.put("w/1", "a")
    start = int(client.get("w/1", metadata=True)[0][1]["mod_revision"])
    events, cancel = client.watch_prefix("w/", start_revision=start)
    client.put("w/2", "b")
    client.delete("w/2")
    seen = []
    for event in events:
        seen.append((event.get("type", "PUT"), event["kv"]["key"], event["kv"].get("value")))
        if len(seen) == 3:
            cancel()
            break
    told.tell("watch", seen)
    # The watch is there or not yet when it is put: from the revision on it sees it either way.
    later = threading.Timer(0.2, client.put, ("w/3", "c"))
    later.start()
    once = client.watch_once("w/3", timeout=20, start_revision=start, prev_kv=True)
    told.tell("watch once", once["kv"]["value"])
    later.join()
    try:
        client.watch_once("w/4", timeout=0.1)
    except etcd3gw.exceptions.WatchTimedOut:
        told.tell("watch in vain")


def cluster(client: Any) -> None:
    members = client.members()
    told.tell("members", [sorted(member) for member in members])
    status = client.status()
    told.tell("status", status["leader"] in {member["ID"] for member in members})
    told.tell("numbers", [int(status[name]) > 0 for name in ("raftTerm", "raftIndex", "dbSize")])
    try:
        client.post(client.get_url("/lease/revoke"), json={"ID": 77})
    except etcd3gw.exceptions.Etcd3Exception as error:
        told.tell("no such lease", str(error.detail_text))


def main() -> None:
    host, port = told.host_ports[2]
    session = session_of(told.user, told.password) if told.user else None
    client = etcd3gw.client(host=host, port=port, timeout=20, session=session)
    told.tell("path", client.api_path)
    for part in (keys_and_values, transactions, leases, watches, cluster):
        part(client)
    told.end()


main()
