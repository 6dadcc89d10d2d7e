"""Headers: who is let in, who is not and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport.handshake import (
    HEADER_BYTES,
    MAGIC,
    PEER_PROTOCOL_VERSION,
    Admission,
    Header,
    Refusal,
    decode_header,
    decode_verdict,
    encode_header,
)
from metastore.transport.limits import STRANGERS_MAX

CLUSTER, ME, PEER, GONE = 9, 1, 2, 4
DIRECTORY, OTHER_DIRECTORY = 77, 78


def header(
    cluster: int = CLUSTER,
    node: int = PEER,
    incarnation: int = 5,
    *,
    directory: int = DIRECTORY,
    to: int = 0,
    version: int = PEER_PROTOCOL_VERSION,
) -> bytes:
    return encode_header(Header(cluster, node, directory, incarnation, to), version)


@pytest.fixture
def admission() -> Admission:
    admission = Admission(CLUSTER, ME, {ME: 0, PEER: DIRECTORY})
    admission.set_members({ME: 0, PEER: DIRECTORY, GONE: 0}, [GONE])
    return admission


@given(st.binary(max_size=60))
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
        (header(version=1), Refusal.OTHER_VERSION),
        (header(version=3) + b"and longer", Refusal.OTHER_VERSION),
        (header(cluster=8), Refusal.STRANGER_CLUSTER),
        (header(node=3), Refusal.UNKNOWN_NODE),
        (header(node=ME), Refusal.DUPLICATE_NODE),
        (header(node=GONE), Refusal.REMOVED),
        (header(node=GONE, to=3), Refusal.REMOVED),
        (header(directory=OTHER_DIRECTORY), Refusal.LOST_DATA),
        (header(directory=0), Refusal.LOST_DATA),
        (header(to=3), Refusal.WRONG_NODE),
        (header(node=3, to=3), Refusal.WRONG_NODE),
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


def test_a_message_to_us_and_one_to_whoever_listens_are_both_let_in(admission: Admission) -> None:
    assert admission.judge(header(to=ME)) == PEER
    assert admission.judge(header(to=0)) == PEER


def test_who_is_removed_stops_being_let_in(admission: Admission) -> None:
    admission.judge(header())
    admission.set_members({PEER: DIRECTORY}, [PEER])
    assert admission.accepted == {}
    assert admission.judge(header()) is Refusal.REMOVED


def test_who_is_no_member_any_more_stops_being_let_in(admission: Admission) -> None:
    admission.judge(header())
    admission.set_members({}, ())
    assert admission.accepted == {}
    assert admission.judge(header()) is Refusal.UNKNOWN_NODE


def test_another_directory_in_the_record_shuts_out_the_old_one_and_counts_starts_anew(
    admission: Admission,
) -> None:
    admission.judge(header(incarnation=6))
    admission.set_members({PEER: OTHER_DIRECTORY}, ())
    assert admission.judge(header(incarnation=6)) is Refusal.LOST_DATA
    replaced = header(incarnation=1, directory=OTHER_DIRECTORY)
    assert admission.judge(replaced) == PEER


def test_a_record_that_lost_its_directory_takes_any_and_counts_starts_anew(
    admission: Admission,
) -> None:
    admission.judge(header(incarnation=6))
    admission.set_members({PEER: 0}, ())
    assert admission.judge(header(incarnation=1, directory=OTHER_DIRECTORY)) == PEER


def test_a_record_that_learns_the_directory_it_was_heard_from_forgets_nothing() -> None:
    admission = Admission(CLUSTER, ME, {PEER: 0})
    admission.judge(header(incarnation=6))
    admission.set_members({PEER: DIRECTORY}, ())
    assert header(incarnation=6) in admission.accepted
    assert admission.judge(header(incarnation=5)) is Refusal.OLD_INCARNATION
    admission.set_members({PEER: DIRECTORY}, [GONE])
    assert admission.judge(header(incarnation=5)) is Refusal.OLD_INCARNATION


def test_a_record_that_stays_without_a_directory_forgets_nothing() -> None:
    admission = Admission(CLUSTER, ME, {PEER: 0})
    admission.judge(header(incarnation=6))
    admission.set_members({PEER: 0}, [GONE])
    assert admission.judge(header(incarnation=5)) is Refusal.OLD_INCARNATION


def test_our_own_id_never_becomes_a_peer(admission: Admission) -> None:
    admission.set_members({ME: 0, PEER: 0}, ())
    assert admission.judge(header(node=ME)) is Refusal.DUPLICATE_NODE


def test_a_verdict_that_was_not_about_the_header_can_be_taken_back(admission: Admission) -> None:
    admission.judge(header(incarnation=6))
    admission.judge_again()
    assert admission.accepted == {}
    assert admission.judge(header(incarnation=5)) is Refusal.OLD_INCARNATION
    assert admission.judge(header(incarnation=6)) == PEER


def test_strangers_are_counted_together(admission: Admission) -> None:
    assert admission.counted_as(header(incarnation=1)) == PEER
    assert admission.counted_as(header(node=GONE)) == GONE
    for data in (b"x", header(node=1 << 40), header(cluster=8), header(node=ME)):
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
