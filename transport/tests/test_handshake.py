"""Headers: who is let in, who is not and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport.handshake import (
    HEADER_BYTES,
    MAGIC,
    Admission,
    Header,
    Refusal,
    decode_header,
    decode_verdict,
    encode_header,
)
from metastore.transport.limits import STRANGERS_MAX

CLUSTER, ME, PEER = 9, 1, 2


def header(
    cluster: int = CLUSTER, node: int = PEER, incarnation: int = 5, version: int = 1
) -> bytes:
    return encode_header(Header(cluster, node, incarnation), version)


@pytest.fixture
def admission() -> Admission:
    return Admission(CLUSTER, ME, [ME, PEER])


@given(st.binary(max_size=40))
def test_random_bytes_never_raise(data: bytes) -> None:
    assert isinstance(decode_header(data), Refusal)


def test_a_known_peer_is_let_in(admission: Admission) -> None:
    assert admission.judge(header()) == PEER
    assert admission.judge(header()) == PEER


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"", Refusal.MALFORMED),
        (MAGIC, Refusal.MALFORMED),
        (b"x" * HEADER_BYTES, Refusal.MALFORMED),
        (header() + b"x", Refusal.MALFORMED),
        (header()[:-1], Refusal.MALFORMED),
        (header(version=2), Refusal.OTHER_VERSION),
        (header(version=2) + b"and longer", Refusal.OTHER_VERSION),
        (header(cluster=8), Refusal.STRANGER_CLUSTER),
        (header(node=3), Refusal.UNKNOWN_NODE),
        (header(node=ME), Refusal.DUPLICATE_NODE),
    ],
)
def test_everybody_else_is_refused_with_the_reason(
    admission: Admission, data: bytes, refusal: Refusal
) -> None:
    assert admission.judge(data) is refusal


def test_an_old_incarnation_is_refused_once_a_newer_one_spoke(admission: Admission) -> None:
    assert admission.judge(header(incarnation=5)) == PEER
    assert admission.judge(header(incarnation=6)) == PEER
    assert admission.judge(header(incarnation=5)) is Refusal.OLD_INCARNATION
    assert admission.judge(header(incarnation=6)) == PEER


def test_a_removed_peer_is_refused_and_may_come_back_with_another_disk(
    admission: Admission,
) -> None:
    admission.judge(header(incarnation=6))
    admission.remove(PEER)
    assert admission.judge(header(incarnation=6)) is Refusal.UNKNOWN_NODE
    admission.add(PEER)
    assert admission.judge(header(incarnation=1)) == PEER


def test_our_own_id_never_becomes_a_peer(admission: Admission) -> None:
    admission.add(ME)
    assert admission.judge(header(node=ME)) is Refusal.DUPLICATE_NODE


def test_strangers_are_counted_together(admission: Admission) -> None:
    assert admission.counted_as(header(incarnation=1)) == PEER
    for data in (b"x", header(node=1 << 40), header(cluster=8)):
        assert admission.counted_as(data) == 0


def test_outstanding_verdicts_are_bounded_and_told_once(admission: Admission) -> None:
    senders = [header(node=100 + i) for i in range(STRANGERS_MAX + 1)]
    for data in senders:
        admission.note_refused(data)
    assert not admission.was_refused(senders[0])
    assert admission.was_refused(senders[-1])
    assert not admission.was_refused(senders[-1])


def test_a_verdict_is_one_of_our_texts_or_nothing() -> None:
    assert decode_verdict([header(), b"unknown node"]) is Refusal.UNKNOWN_NODE
    assert decode_verdict([header(), b""]) is None
    for parts in ([], [header()], [b"x", b""], [header(), b"anything to fill your log"]):
        with pytest.raises(ValueError, match="verdict"):
            decode_verdict(parts)
