"""The cluster of the client's tests: nodes that share one plain dictionary, with its sessions.

What it does not play itself, a test answers by `answers`.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import zmq
from fake_node import FakeNode

from metastore.transport import member_ops, schema
from metastore.transport.member_ops import MemberInfo
from metastore.transport.security import Keys
from metastore.transport.zap import ZapHandler


class FakeCluster:
    """Nodes that share one dictionary and always agree."""

    def __init__(self, nodes_count: int, leader_id: int, node_keys: Sequence[Keys] = ()) -> None:
        """`node_keys`: of each node, in turn; with none, nothing is encrypted."""
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.node_keys = node_keys
        self.why_not: Callable[[str], str] = lambda key: ""  # let a client's key in
        self.asked_keys: list[str] = []  # of every connection that came that far
        self._zap = ZapHandler(self.context, self._allow, print) if node_keys else None
        self.cluster_id = 77
        self.leader_id = leader_id
        self.greeting_error = ""
        self.revision = 1
        self.data: dict[bytes, tuple[Any, ...]] = {}
        self.sessions: dict[int, dict[int, bytes]] = {}  # session -> kept replies
        self.session_changes: list[Any] = []  # SESSION_OPEN and SESSION_CLOSE, in order
        self.answers: dict[int, Any] = {}  # operation code -> result; for what is not played here
        self.applied: list[Any] = []  # every operation that changed something, in order
        self.infos: list[MemberInfo] | None = None  # of the members; None: voters, one per node
        self.witness_ids: set[int] = set()  # greetings name no client address of theirs
        self.lock = threading.Lock()
        self.nodes: list[FakeNode] = []
        for node_id in range(1, nodes_count + 1):
            self.nodes.append(FakeNode(self, node_id))

    def open(self, kind: int, node_id: int) -> Any:
        """A socket of this node's, to be bound."""
        socket = self.context.socket(kind)
        if self.node_keys:
            encrypt(socket, self.node_keys[(node_id - 1) % len(self.node_keys)])
        return socket

    def _allow(self, domain: str, key: str) -> str:
        self.asked_keys.append(key)
        return self.why_not(key)

    def __getitem__(self, node_id: int) -> FakeNode:
        return self.nodes[node_id - 1]

    @property
    def leader(self) -> FakeNode:
        return self[self.leader_id]

    def shown(self) -> list[tuple[int, str, str]]:
        """The members as greetings tell of them."""
        return [
            (n.node_id, "" if n.node_id in self.witness_ids else n.client_address, n.status_address)
            for n in self.nodes
        ]

    def members(self) -> list[MemberInfo]:
        """The members as the list tells of them."""
        if self.infos is not None:
            return self.infos
        return [
            MemberInfo(
                *(node_id, "voter", "member", f"tcp://n{node_id}:1", client, status),
                *(f"tcp://n{node_id}:4", 500 + node_id, 0),
            )
            for node_id, client, status in self.shown()
        ]

    def decode(self, request: bytes) -> Any:
        """The operations; strictly."""
        operations = msgpack.unpackb(request, use_list=False)
        if operations[0][0] not in member_ops.MEMBER_OPERATIONS:
            return schema.decode_request(request)
        member_ops.decode_member_request(request)
        return operations

    def apply(self, request: bytes) -> bytes:
        with self.lock:
            operations = self.decode(request)
            if operations[0][0] != schema.Op.SESSION:
                return schema.encode_results([self._apply(operation) for operation in operations])
            _, session, sequence, _ = operations[0]
            kept = self.sessions.get(session)
            if kept is None:
                refusal = (int(schema.Code.FAILED_PRECONDITION), schema.SESSION_NOT_FOUND)
                return schema.encode_results([refusal])
            if sequence not in kept:
                results = [self._apply(operation) for operation in operations[1:]]
                kept[sequence] = schema.encode_results(results)
            return kept[sequence]

    def _apply(self, operation: Any) -> Any:
        code = operation[0]
        if code in self.answers:
            answer = self.answers[code]
            return answer(operation) if callable(answer) else answer
        if code == schema.Op.SESSION_OPEN:
            self.session_changes.append(operation)
            self.sessions.setdefault(operation[1], {})
            return [0, self.revision]
        if code == schema.Op.SESSION_CLOSE:
            self.session_changes.append(operation)
            self.sessions.pop(operation[1], None)
            return [0, self.revision]
        if code == member_ops.MOVE_LEADER:
            self.applied.append(operation)
            self.leader_id = operation[1] or self.leader_id % len(self.nodes) + 1
            return [0, self.leader_id]
        if code in member_ops.MEMBER_OPERATIONS:
            if code == member_ops.MEMBER_CHANGE:
                self.applied.append(operation)
            return [0, self.leader_id, self.cluster_id, 3, self.members()]
        return self._apply_to_keys(operation)

    def _apply_to_keys(self, operation: Any) -> Any:
        code, key = operation[0], operation[1]
        if not key:
            return [schema.Code.INVALID_ARGUMENT, schema.KEY_NOT_PROVIDED]
        if code == schema.Op.PUT:
            self.applied.append(operation)
            self.revision += 1
            old = self.data.get(key)
            created, version = (old[2], old[4] + 1) if old else (self.revision, 1)
            self.data[key] = (key, operation[2], created, self.revision, version, operation[3])
            return [0, self.revision, old if operation[4] & schema.Flag.PREV_KV else None]
        found = sorted(k for k in self.data if _is_within(k, key, operation[2]))
        if code == schema.Op.DELETE_RANGE:
            self.applied.append(operation)
            self.revision += bool(found)
            gone = [self.data.pop(k) for k in found]
            return [0, self.revision, len(gone), gone if operation[3] else []]
        limit, revision, flags = operation[3], operation[4], operation[5]
        if 0 < revision < self.revision:
            return [schema.Code.OUT_OF_RANGE, schema.COMPACTED]
        taken = found[:limit] if limit else found
        records = [self.data[k] for k in taken]
        if flags & schema.Flag.KEYS_ONLY:
            records = [(r[0], b"", *r[2:]) for r in records]
        return [0, self.revision, records, len(taken) < len(found), len(found)]

    def close(self) -> None:
        for node in self.nodes:
            node.stop()
        if self._zap is not None:
            self._zap.close()
        self.context.destroy(linger=0)


def encrypt(socket: Any, keys: Keys) -> None:
    """As a node's socket does; the context needs a ZapHandler."""
    socket.curve_server = 1
    socket.curve_secretkey = keys.secret.encode()
    socket.zap_domain = b"client"
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _is_within(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)
