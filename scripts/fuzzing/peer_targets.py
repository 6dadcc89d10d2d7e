"""Decoders of what nodes send each other: headers, Raft's messages, snapshots on their way, the
record of the members."""

from collections.abc import Sequence
from typing import Any

import msgpack
from fuzzing.mutation import Parts
from fuzzing.targets import Target, each, of_one

from metastore.node import codec
from metastore.node.members import joining
from metastore.node.members.records import (
    MemberRecord,
    Membership,
    RecordDamaged,
    decode_edits,
    encode_edits,
    first_membership,
)
from metastore.node.raft import messages as m
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    Snapshot,
    Transition,
)
from metastore.transport import chunk_frames, schema
from metastore.transport.chunk_frames import FrameKind
from metastore.transport.errors import Malformed
from metastore.transport.handshake import (
    Admission,
    Header,
    Refusal,
    decode_header,
    decode_verdict,
    encode_header,
)
from metastore.transport.member_ops import MemberInfo

SENDER, SELF = 2, 1
CLUSTER = 77
RECORDS = tuple(
    MemberRecord(number, role, *(f"tcp://h:{number}{place}" for place in range(4)), number, 0)
    for number, role in ((1, "voter"), (2, "voter"), (3, "learner"), (4, "witness"))
)
MEMBERSHIP = first_membership(RECORDS, 5)
_STATE = ConfigurationState((1, 2), (1, 4), (3,), (5,), True)
_ENTRIES = (
    Entry(3, 11, EntryType.NORMAL, schema.encode_batch([schema.encode_request(((11,),))])),
    Entry(3, 12, EntryType.NORMAL, b""),
)
_CHANGE = ConfigurationChange(
    (Change(ChangeType.ADD_LEARNER, 3), Change(ChangeType.REMOVE, 2)),
    Transition.JOINT_IMPLICIT,
    encode_edits(RECORDS[2:], (2,)),
)


def _message(kind: type[m.Message], term: int = 3, **fields: Any) -> m.Message:
    return kind(sender=SENDER, to=SELF, term=term, **fields)


_SNAPSHOT = Snapshot(9, 2, _STATE, MEMBERSHIP.encode())
_VOTE = {"last_log_index": 9, "last_log_term": 2, "forced": False}
MESSAGES: tuple[m.Message, ...] = (
    _message(m.AppendEntries, prev_log_index=10, prev_log_term=2, commit_index=9, entries=_ENTRIES),
    _message(m.AppendEntriesReply, index=10, hint_index=0, hint_term=0, rejected=False),
    _message(m.Heartbeat, commit_index=9, read_sequence=1),
    _message(m.HeartbeatReply, read_sequence=1),
    _message(m.RequestVote, **_VOTE),
    _message(m.RequestVoteReply, rejected=True),
    _message(m.RequestPreVote, **_VOTE),
    _message(m.InstallSnapshot, snapshot=_SNAPSHOT),
    _message(m.Propose, 0, entries=(Entry(0, 0, EntryType.NORMAL, b"x"),)),
    _message(m.ReadIndex, 0, context=b"c"),
    _message(m.ReadIndexReply, read_index=4, context=b"c"),
    _message(m.TimeoutNow),
)
PAYLOADS = (
    *(codec.encode_messages((message,)) for message in MESSAGES),
    codec.encode_messages(MESSAGES),
)
HEADERS = tuple(
    encode_header(Header(CLUSTER, SENDER, directory, incarnation, to))
    for directory, incarnation, to in ((2, 1, 0), (2, 3, SELF), (9, 1, 0))
)
_FACTS = {
    **{"message_term": 3, "index": 9, "term": 2},
    "configuration": MEMBERSHIP.encode(),
}
OFFER = chunk_frames.encode_offer(7, 1 << 20, b"\x22" * 32, _FACTS)
CHUNK = (chunk_frames.encode_body(FrameKind.CHUNK, 7, 0, 12345), b"data" * 100)
RECEIVER_FRAMES = (
    chunk_frames.encode_body(FrameKind.PROGRESS, 7, 100, False),
    chunk_frames.encode_body(FrameKind.DECLINED, 7, "no"),
    chunk_frames.encode_body(FrameKind.DONE, 7),
)
_INFO = MemberInfo(
    *(1, "voter", "member", "tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4", 5, 0),
    *("one", "http://a:5,https://a:6"),
)
_ANSWERS = (
    schema.encode_results(((0, 1, CLUSTER, 6, (_INFO,)),)),
    schema.encode_results(((9, "metastore: this node has lost its data"),)),
)


def _judged(parts: Parts) -> Any:
    """Through the whole of what a listening socket does with a stranger's header."""
    admission = Admission(CLUSTER, SELF, {2: 2, 3: 0})
    admission.set_members({2: 2, 3: 0}, {4})
    for part in (*parts, *parts):
        judged = admission.judge(part)
        if isinstance(judged, Refusal):
            admission.counted_as(part)
            admission.note_refused(part)
            admission.was_refused(part)
        elif judged not in (2, 3):
            raise RuntimeError(f"member {judged} was let in")
    return None


def _header(data: bytes) -> Header:
    header = decode_header(data)
    if isinstance(header, Refusal):
        raise Malformed(header.value)
    return header


def _facts(data: bytes) -> m.InstallSnapshot:
    try:
        facts = msgpack.unpackb(data, use_list=False)
    except ValueError:
        raise codec.MalformedMessage("not even a map") from None
    return codec.unpack_snapshot_facts(facts, SENDER, SELF)


def _sender_frame(frame: chunk_frames.SenderFrame) -> Parts:
    if isinstance(frame, chunk_frames.Offer):
        return (chunk_frames.encode_offer(*frame),)
    return (chunk_frames.encode_body(FrameKind.CHUNK, *frame[:3]), frame.data)


def _receiver_frame(frame: chunk_frames.ReceiverFrame) -> Parts:
    kind = FrameKind[type(frame).__name__.upper()]
    return (chunk_frames.encode_body(kind, *frame),)


def targets() -> Sequence[Target]:
    one = of_one
    malformed, damaged = (Malformed,), (RecordDamaged,)
    message = (codec.MalformedMessage,)
    verdicts = tuple((HEADERS[0], refusal.value.encode()) for refusal in Refusal)
    return (
        Target("header", each(*HEADERS), one(_header), malformed, lambda h: (encode_header(h),)),
        Target("admission", (*each(*HEADERS), HEADERS), _judged),
        Target("verdict", verdicts, lambda parts: decode_verdict([*parts]), (ValueError,)),
        Target(
            *("raft messages", each(*PAYLOADS), one(lambda d: codec.decode_messages(d, SENDER))),
            *(message, lambda messages: (codec.encode_messages(messages),)),
        ),
        Target("snapshot facts", each(msgpack.packb(_FACTS)), one(_facts), message),
        Target(
            *("snapshot sender", ((OFFER,), CHUNK)),
            *(lambda parts: chunk_frames.decode_sender_frame([*parts]), malformed, _sender_frame),
        ),
        Target(
            *("snapshot receiver", each(*RECEIVER_FRAMES)),
            lambda parts: chunk_frames.decode_receiver_frame([*parts]),
            *(malformed, _receiver_frame),
        ),
        Target(
            *("members", each(b"", MEMBERSHIP.encode()), one(Membership.decode), damaged),
            lambda membership: (membership.encode(),),
        ),
        Target(
            *("member edits", each(b"", encode_edits(RECORDS, (4, 5))), one(decode_edits), damaged),
            lambda edits: (encode_edits(*edits),),
        ),
        Target(
            *("configuration change", each(b"", _CHANGE.encode()), one(ConfigurationChange.decode)),
            *((ValueError,), lambda change: (change.encode(),)),
        ),
        Target("join answer", each(*_ANSWERS), one(joining.decode_answer_or_none)),
    )
