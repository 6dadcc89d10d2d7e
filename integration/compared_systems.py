"""The systems that test_same_as_etcd.py asks the same questions, behind one small face.

`ask` takes an operation of transport.schema and gives a plain answer in one common form: what
etcd's response says, without the ids of cluster and member, and with every revision counted from
`base`. An error is ("error", gRPC code, text).
"""

import base64
import http.client
import json
from typing import Any

import zmq

from metastore.transport import envelope, schema, watch_frames
from metastore.transport.schema import Op

ANSWER_S = 30
Answer = tuple[Any, ...]
_ORDERS = ("NONE", "ASCEND", "DESCEND")
_TARGETS = ("KEY", "VERSION", "CREATE", "MOD", "VALUE")
_RESULTS = ("EQUAL", "GREATER", "LESS", "NOT_EQUAL")
_COMPARED = ("version", "create_revision", "mod_revision", "value", "lease")


class Etcd:
    """A real etcd through its JSON gateway, one connection."""

    name = "etcd"

    def __init__(self, port: int) -> None:
        self.base = 0
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)

    def ask(self, operation: schema.Operation) -> Answer:
        path, body = _PATHS[operation[0]], _to_json(operation)
        answer = self._post(path, body)
        if "error" in answer:
            return ("error", answer["code"], answer["error"])
        return _from_json(operation, answer, self.base)

    def revision(self) -> int:
        return int(self._post("kv/range", {"key": _b64(b"no such key")})["header"]["revision"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._connection.request("POST", f"/v3/{path}", json.dumps(body))
        return dict(json.loads(self._connection.getresponse().read()))

    def watch(self, key: bytes, range_end: bytes, first: int, last: int) -> list[Answer]:
        """All events of the range from revision `first` to `last` (from base), which must have
        one."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        create = {
            "key": _b64(key),
            "range_end": _b64(range_end),
            "start_revision": self.base + first,
        }
        body = json.dumps({"create_request": {**create, "prev_kv": True}})
        connection.request("POST", "/v3/watch", body)
        response = connection.getresponse()
        events: list[Answer] = []
        try:
            while not events or events[-1][1][3] < last:
                result = json.loads(response.readline())["result"]
                for event in result.get("events", ()):
                    kv, previous = event["kv"], event.get("prev_kv")
                    kinds = (event.get("type", "PUT"), _kv(kv, self.base))
                    events.append((*kinds, _kv(previous, self.base)))
        finally:
            connection.close()
        return events

    def close(self) -> None:
        self._connection.close()


class Node:
    """One node of ours, which is its own leader, through its client socket."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.base = 0
        self._next_id = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = ANSWER_S * 1000
        self._socket.connect(address)

    def ask(self, operation: schema.Operation) -> Answer:
        self._next_id += 1
        request = schema.encode_request((operation,))
        self._socket.send(envelope.encode_request_frame(self._next_id, 0, request))
        reply = envelope.decode_node_frame(self._socket.recv())
        if not isinstance(reply, envelope.Results):
            raise AssertionError(f"{self.name} refused {operation}: {reply}")
        return _from_result(operation, schema.decode_results(reply.results)[0], self.base)

    def revision(self) -> int:
        return int(self.ask(schema.range_(b"no such key"))[0]) + self.base

    def watch(self, key: bytes, range_end: bytes, first: int, last: int) -> list[Answer]:
        self._next_id += 1
        watch_id, flags = self._next_id, int(watch_frames.WatchFlag.PREV_KV)
        self._socket.send(
            watch_frames.encode_watch(
                watch_id, key, range_end, self.base + first, flags, credit=1000
            )
        )
        events: list[Answer] = []
        while not events or events[-1][1][3] < last:
            frames = [envelope.decode_node_frame(frame) for frame in self._socket.recv_multipart()]
            for frame in frames:
                if isinstance(frame, watch_frames.Canceled):
                    raise AssertionError(f"{self.name} canceled the watch: {frame}")
                if isinstance(frame, watch_frames.Events):
                    for kv, previous in watch_frames.decode_event_list(frame.events):
                        kind = "PUT" if kv[4] else "DELETE"
                        both = (_relative(kv, self.base), _relative(previous, self.base))
                        events.append((kind, *both))
        self._socket.send(watch_frames.encode_cancel(watch_id))
        reply = envelope.decode_node_frame(self._socket.recv())
        if not isinstance(reply, watch_frames.Canceled):
            raise AssertionError(f"{self.name} answered a cancel with {reply}")
        return events

    def close(self) -> None:
        self._socket.close(0)


_PATHS: dict[int, str] = {
    int(Op.PUT): "kv/put",
    int(Op.DELETE_RANGE): "kv/deleterange",
    int(Op.RANGE): "kv/range",
    int(Op.FILTERED_RANGE): "kv/range",
    int(Op.TXN): "kv/txn",
    int(Op.COMPACT): "kv/compaction",
    int(Op.LEASE_GRANT): "lease/grant",
    int(Op.LEASE_REVOKE): "lease/revoke",
    int(Op.LEASE_TIME_TO_LIVE): "lease/timetolive",
    int(Op.LEASES): "lease/leases",
}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _to_json(operation: schema.Operation) -> dict[str, Any]:
    code, *fields = operation
    if code == Op.PUT:
        key, value, lease, flags = fields
        body = {"key": _b64(key), "value": _b64(value), "lease": lease, "prev_kv": bool(flags & 1)}
        return {**body, "ignore_value": bool(flags & 2), "ignore_lease": bool(flags & 4)}
    if code == Op.DELETE_RANGE:
        key, range_end, flags = fields
        return {"key": _b64(key), "range_end": _b64(range_end), "prev_kv": bool(flags & 1)}
    if code in (Op.RANGE, Op.FILTERED_RANGE):
        return _range_to_json(fields)
    if code == Op.TXN:
        return _txn_to_json(fields)
    if code == Op.COMPACT:
        return {"revision": fields[0], "physical": fields[1]}
    if code == Op.LEASE_GRANT:
        return {"ID": fields[0], "TTL": fields[1]}
    if code == Op.LEASE_TIME_TO_LIVE:
        return {"ID": fields[0], "keys": fields[1]}
    return {"ID": fields[0]} if fields else {}


def _range_to_json(fields: list[Any]) -> dict[str, Any]:
    key, range_end, limit, revision, flags, *options = fields
    body = {"key": _b64(key), "range_end": _b64(range_end), "limit": limit, "revision": revision}
    body |= {"keys_only": bool(flags & 8), "count_only": bool(flags & 16)}
    if options:
        order, target, *bounds = options
        body |= {"sort_order": _ORDERS[order], "sort_target": _TARGETS[target]}
        names = ("min_mod_revision", "max_mod_revision")
        names += ("min_create_revision", "max_create_revision")
        body |= dict(zip(names, bounds, strict=True))
    return body


def _txn_to_json(fields: list[Any]) -> dict[str, Any]:
    compares = []
    for result, target, key, range_end, operand in fields[0]:
        value = _b64(operand) if isinstance(operand, bytes) else operand
        compare = {"result": _RESULTS[result], "target": _COMPARED[target].split("_")[0].upper()}
        compare |= {"key": _b64(key), "range_end": _b64(range_end), _COMPARED[target]: value}
        compares.append(compare)
    names = {Op.PUT: "put", Op.DELETE_RANGE: "delete_range", Op.TXN: "txn"}
    branches = [
        [{f"request_{names.get(op[0], 'range')}": _to_json(op)} for op in branch]
        for branch in fields[1:]
    ]
    return {"compare": compares, "success": branches[0], "failure": branches[1]}


def _kv(fields: dict[str, Any] | None, base: int) -> Answer | None:
    if fields is None:
        return None
    key, value = (base64.b64decode(fields.get(name, "")) for name in ("key", "value"))
    names = ("create_revision", "mod_revision", "version", "lease")
    return _relative((key, value, *(int(fields.get(name, 0)) for name in names)), base)


def _relative(kv: Any, base: int) -> Answer | None:
    if kv is None:
        return None
    key, value, created, modified, *rest = kv
    return (key, value, created and created - base, modified - base, *rest)


def _from_json(operation: schema.Operation, answer: dict[str, Any], base: int) -> Answer:
    code = operation[0]
    revision = int(answer.get("header", {}).get("revision", 0)) - base
    if code == Op.PUT:
        return (revision, _kv(answer.get("prev_kv"), base))
    if code == Op.DELETE_RANGE:
        previous = tuple(_kv(kv, base) for kv in answer.get("prev_kvs", ()))
        return (revision, int(answer.get("deleted", 0)), previous)
    if code in (Op.RANGE, Op.FILTERED_RANGE):
        kvs = tuple(_kv(kv, base) for kv in answer.get("kvs", ()))
        count = int(answer.get("count", 0))
        return _found(operation, revision, kvs, answer.get("more", False), count)
    if code == Op.TXN:
        succeeded = answer.get("succeeded", False)
        branch = operation[2] if succeeded else operation[3]
        answers = [next(iter(part.values())) for part in answer.get("responses", ())]
        nested = [_from_json(op, part, base) for op, part in zip(branch, answers, strict=True)]
        return (revision, succeeded, tuple(map(_without_nested_revision, branch, nested)))
    if code == Op.LEASE_GRANT:
        return (revision, int(answer["ID"]), int(answer["TTL"]))
    if code == Op.LEASE_TIME_TO_LIVE:
        is_known = int(answer.get("TTL", 0)) >= 0
        keys = sorted(base64.b64decode(key) for key in answer.get("keys", ()))
        return (revision, is_known, int(answer.get("grantedTTL", 0)), tuple(keys))
    if code == Op.LEASES:
        return (revision, tuple(sorted(int(lease["ID"]) for lease in answer.get("leases", ()))))
    return (revision,)


def _from_result(operation: schema.Operation, result: schema.Result, base: int) -> Answer:
    """The same of a result of ours."""
    if result[0]:
        return ("error", result[0], result[1])
    code, revision = operation[0], result[1] - base
    if code == Op.PUT:
        return (revision, _relative(result[2], base))
    if code == Op.DELETE_RANGE:
        return (revision, result[2], tuple(_relative(kv, base) for kv in result[3]))
    if code in (Op.RANGE, Op.FILTERED_RANGE):
        kvs = tuple(_relative(kv, base) for kv in result[2])
        return _found(operation, revision, kvs, *result[3:])
    if code == Op.TXN:
        branch = operation[2] if result[2] else operation[3]
        nested = [_from_result(op, part, base) for op, part in zip(branch, result[3], strict=True)]
        return (revision, result[2], tuple(map(_without_nested_revision, branch, nested)))
    if code == Op.LEASE_TIME_TO_LIVE:
        return (revision, result[2] >= 0, result[3], tuple(result[4]))
    return (revision, *result[2:])


def _without_nested_revision(operation: schema.Operation, answer: Answer) -> Answer:
    """etcd leaves the header of a transaction inside of another one empty."""
    return answer[1:] if operation[0] == Op.TXN else answer


def _found(
    operation: schema.Operation, revision: int, kvs: tuple[Any, ...], more: bool, count: int
) -> Answer:
    """Sorted by anything but the key, ties are in no promised order: then the order of the sorted
    field counts, and the set of keys if none was cut off."""
    target = operation[7] if operation[0] == Op.FILTERED_RANGE else 0
    if target == 0:
        return (revision, kvs, more, count)
    place = (0, 4, 2, 3, 1)[target]
    kept = None if more else tuple(sorted(kvs))
    return (revision, tuple(kv[place] for kv in kvs), kept, more, count)
