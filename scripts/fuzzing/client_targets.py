"""Decoders of what clients and nodes send each other, of the status socket's questions, and of the
questions about keys that libzmq asks."""

from collections.abc import Sequence
from typing import Any

import msgpack
import zmq
from fuzzing.mutation import Parts
from fuzzing.targets import Target, each, of_one

from metastore.engines.contract import LogRecord
from metastore.engines.memory.loading import empty_state
from metastore.node.access.permissions import AccessRole, Grants, why_not
from metastore.transport import auth_ops, backup_frames, envelope, member_ops, schema, status, zap
from metastore.transport import watch_frames as watches
from metastore.transport.auth_ops import AuthAction, auth
from metastore.transport.errors import Malformed
from metastore.transport.framing import decode_array
from metastore.transport.limits import ANSWER_FRAME_BYTES_MAX
from metastore.transport.member_ops import ChangeKind, MemberRequest, Role

KV = (b"a", b"value", 3, 4, 2, 0)
_MEMBER = (2, "tcp://127.0.0.1:12001", "tcp://127.0.0.1:12002")
_PLACES = ("tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4")

_ROOT = (auth_ops.as_user("root", 99),)
AUTH_OPERATIONS: tuple[tuple[schema.Operation, ...], ...] = (
    (
        auth(AuthAction.USER_ADD, "root", b"hash"),
        auth(AuthAction.USER_GRANT, "root", "root"),
        auth(AuthAction.ROLE_ADD, "r"),
        auth(AuthAction.ROLE_GRANT, "r", 2, b"a", b"c"),
        auth(AuthAction.ENABLE, b"s" * auth_ops.SECRET_BYTES),
    ),
    (*_ROOT, auth(AuthAction.USER_LIST), auth(AuthAction.ROLE_GET, "r"), schema.range_(b"a")),
    (*_ROOT, auth(AuthAction.ROLE_REVOKE, "r", b"a", b"c"), auth(AuthAction.DISABLE)),
    (*_ROOT, auth(AuthAction.CHECK, 1, b"a", b"\0")),
    (*_ROOT, (schema.Op.HASH, 0)),
    ((schema.Op.SESSION, 5, 2, 1), auth_ops.as_user("", 1), schema.put(b"s", b"1", lease=7)),
    (auth(AuthAction.CREDENTIALS, "root"), auth(AuthAction.STATUS)),
    (auth(AuthAction.USER_CHANGE_PASSWORD, "root", b""), auth(AuthAction.USER_DELETE, "root")),
)
OPERATIONS: tuple[tuple[schema.Operation, ...], ...] = (
    (schema.put(b"a", b"1"),),
    (schema.put(b"a", b"1", lease=7, prev_kv=True), schema.range_(b"", b"\0")),
    (schema.delete_range(b"a", b"c", prev_kv=True),),
    (schema.filtered_range(schema.range_(b"a", b"z", limit=3), sort_order=2, sort_target=3),),
    (
        schema.txn(
            [schema.compare(1, 0, b"a", 0), schema.compare(3, 1, b"b", b"x", b"c")],
            [schema.put(b"a", b"2"), schema.txn([], [schema.range_(b"a")])],
            [schema.delete_range(b"b")],
        ),
    ),
    ((schema.Op.COMPACT, 1, False), (schema.Op.HASH, 0), (schema.Op.ALARMS,)),
    ((schema.Op.LEASE_GRANT, 7, 60), (schema.Op.LEASE_KEEP_ALIVE, 7)),
    ((schema.Op.LEASE_TIME_TO_LIVE, 7, True), (schema.Op.LEASES,), (schema.Op.LEASE_REVOKE, 7)),
    ((schema.Op.SESSION_OPEN, 5),),
    ((schema.Op.SESSION, 5, 1, 1), schema.put(b"s", b"1")),
    ((schema.Op.SESSION_CLOSE, 5),),
    *AUTH_OPERATIONS,
)
REQUESTS = tuple(map(schema.encode_request, OPERATIONS))
_INTERNAL = (
    schema.encode_internal(3, ((schema.Op.LEASE_EXPIRE, 7, 1), (schema.Op.ALARM, 1, True))),
    schema.encode_internal(3, ((schema.Op.LEASE_CHECKPOINT, 7, 1, 30), (6, 1, False))),
)
_RESULTS = (
    ((0, 3, None), (0, 4, KV)),
    ((0, 3, 1, (KV,)), (0, 3, (KV, KV), False, 2)),
    ((0, 3, True, ((0, 3, None),)), (3, "no"), (0, 3, 7, 60)),
)
_CHANGES = (
    (ChangeKind.ADD, 4, Role.VOTER.value, *_PLACES, 0),
    (ChangeKind.JOIN, 4, Role.WITNESS.value, *_PLACES, 1 << 60, "four", "http://h:2379"),
    (ChangeKind.UPDATE, 4, *_PLACES, None),
)
MEMBER_REQUESTS = tuple(
    schema.encode_request((operation,))
    for operation in (
        member_ops.members(),
        member_ops.move_leader(2),
        member_ops.member_change(_CHANGES),
        member_ops.member_change(((ChangeKind.PROMOTE, 4), (ChangeKind.REMOVE, 5)), is_forced=True),
        member_ops.member_change(((ChangeKind.REPLACE, 4, 0),)),
    )
)

CLIENT_FRAMES = (
    envelope.encode_hello(1),
    envelope.encode_hello(2, 12345),
    *(envelope.encode_request_frame(3, level % 3, data) for level, data in enumerate(REQUESTS)),
    *(envelope.encode_request_frame(4, 0, data) for data in MEMBER_REQUESTS),
    msgpack.packb((1, 2, 3, 0, REQUESTS[0])),
    watches.encode_watch(5, b"a", b"b", 1, watches.ALL_FLAGS, 10),
    watches.encode_credit(5, 3),
    watches.encode_progress_request(5),
    watches.encode_cancel(5),
    backup_frames.encode_backup_request(6),
    backup_frames.encode_fetch(7, 6, 0, 1000),
)
_EVENTS = watches.encode_event_list(((KV, None), ((b"b", b"", 0, 5, 0, 0), KV)))
NODE_FRAMES = (
    envelope.encode_welcome(1, 9, 1, 2, (_MEMBER, (3, "", ""))),
    envelope.encode_results_frame(3, schema.encode_results(_RESULTS[0])),
    envelope.encode_error(3, "not_leader", "node 2 leads", 2),
    watches.encode_watched(5, 8),
    watches.encode_events(5, 8, _EVENTS, True),
    watches.encode_canceled(5, 4, "compacted"),
)
_BACKUPS = (
    backup_frames.encode_backup_ready(6, 1000, 5, 9, b"\x11" * 32),
    backup_frames.encode_fetched(7, b"piece"),
)
QUESTIONS = tuple(
    msgpack.packb({"method": name}) for name in ("status", "raft_status", "no such thing")
)

_ENCODERS: dict[type, Any] = {
    envelope.Hello: envelope.encode_hello,
    envelope.Request: envelope.encode_request_frame,
    watches.Watch: watches.encode_watch,
    watches.Credit: watches.encode_credit,
    watches.Cancel: watches.encode_cancel,
    watches.ProgressRequest: watches.encode_progress_request,
    backup_frames.BackupRequest: backup_frames.encode_backup_request,
    backup_frames.Fetch: backup_frames.encode_fetch,
    envelope.Welcome: envelope.encode_welcome,
    envelope.Results: envelope.encode_results_frame,
    envelope.Error: envelope.encode_error,
    watches.Watched: watches.encode_watched,
    watches.Events: watches.encode_events,
    watches.Canceled: watches.encode_canceled,
    backup_frames.BackupReady: backup_frames.encode_backup_ready,
    backup_frames.Fetched: backup_frames.encode_fetched,
}


def _encoded(frame: Any) -> Parts:
    return (_ENCODERS[type(frame)](*frame),)


def _backup_answer(data: bytes) -> Any:
    frame = backup_frames.decode_node_backup_frame(decode_array(data, ANSWER_FRAME_BYTES_MAX))
    if frame is None:
        raise Malformed("of another kind")
    return frame


def _member_request(request: MemberRequest) -> Parts:
    operation: Sequence[Any] = member_ops.members()
    if request.operation == member_ops.MOVE_LEADER:
        operation = member_ops.move_leader(request.target)
    elif request.operation == member_ops.MEMBER_CHANGE:
        operation = member_ops.member_change(request.changes, is_forced=request.is_forced)
    return (schema.encode_request((operation,)),)


def _permission(parts: Parts) -> Any:
    """Of any frame that is one. A lease has two keys, one of them outside."""
    frame = envelope.decode_client_frame(b"".join(parts))
    grants = Grants("web", AccessRole.WRITE, (b"a", b"b/"))
    return why_not(grants, frame, lambda _: (b"a/1", b"c"))


def _applied(parts: Parts) -> Any:
    """Every replica applies what stands in the log, so nothing in it may raise."""
    state = empty_state().state
    for place, data in enumerate(parts, 1):
        state.apply(LogRecord(3, place, 0, data))
        state.read(data)
    keys = list(state.all_facts())
    state.let_go()
    return keys


class _Zap(zap.ZapHandler):
    """The handler without its socket and its thread."""

    def __init__(self) -> None:
        self._allow = lambda domain, key: "" if key.startswith("a") else "not you"
        self._refusals = zap.Refusals()

    def asked(self, parts: Parts) -> list[bytes] | None:
        return self._answer_or_none(parts)


def _key_question(parts: Parts) -> Any:
    answer = _Zap().asked(parts)
    if answer is not None and (len(answer) != 8 or answer[4] not in (b"200", b"400", b"500")):
        raise RuntimeError(f"libzmq would not understand {answer!r}")
    return answer


def targets() -> Sequence[Target]:
    batches = tuple((schema.encode_batch(REQUESTS[start:]),) for start in (0, 4, 9))
    applied = (*batches, *each(*_INTERNAL), (*batches[0], *batches[1], _INTERNAL[0]))
    one, malformed, request = of_one, (Malformed,), (schema.MalformedRequest,)
    key = (b"\0\1", b"", b"1.0", b"7", b"client", b"127.0.0.1", b"", b"CURVE", b"k" * 32)
    clients = (each(*CLIENT_FRAMES), one(envelope.decode_client_frame), malformed, _encoded)
    nodes = (each(*NODE_FRAMES), one(envelope.decode_node_frame), malformed, _encoded)
    backups = (each(*_BACKUPS), one(_backup_answer), malformed, _encoded)
    return (
        Target("client frame", *clients),
        Target("node frame", *nodes),
        Target("backup answer", *backups),
        Target(
            *("events", each(_EVENTS), one(watches.decode_event_list), malformed),
            lambda events: (watches.encode_event_list(events),),
        ),
        Target(
            *("request", each(*REQUESTS), one(schema.decode_request), request),
            lambda operations: (schema.encode_request(operations),),
        ),
        Target(
            *("member request", each(*MEMBER_REQUESTS), one(member_ops.decode_member_request)),
            *(request, _member_request),
        ),
        # The client wraps whatever this one raises (routing.py).
        Target(
            *("results", tuple((schema.encode_results(r),) for r in _RESULTS)),
            *(one(schema.decode_results), (ValueError,)),
        ),
        Target("permission", each(*CLIENT_FRAMES), _permission, (Malformed, *request)),
        Target("applied entry", applied, _applied),
        Target(
            "status question", each(*QUESTIONS), lambda p: status.decode_method([*p]), malformed
        ),
        Target(
            "key question",
            (key, (*key[:7], b"NULL"), (*key[:7], b"PLAIN", b"a", b"b")),
            _key_question,
        ),
    )


def public_key() -> str:
    """Of nobody."""
    return zmq.curve_keypair()[0].decode("ascii")
