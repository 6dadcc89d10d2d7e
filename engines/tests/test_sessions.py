"""Sessions: a command is carried out once, however often it arrives (§6.3 of the dissertation)."""

from typing import Any

import pytest
from state_machine import Machine

from metastore.engines import sessions
from metastore.engines.contract import StorageDamaged
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.sessions import KEPT_OVERHEAD_BYTES, Sessions
from metastore.engines.state import State
from metastore.transport import schema
from metastore.transport.schema import Code, Op, Operation

NOT_FOUND = ((Code.FAILED_PRECONDITION, schema.SESSION_NOT_FOUND),)
ANSWERED = ((Code.FAILED_PRECONDITION, schema.SESSION_ANSWERED),)
TOO_LARGE = ((Code.FAILED_PRECONDITION, schema.REPLY_TOO_LARGE),)
PUT = schema.put(b"k", b"v")


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.one(Op.SESSION_OPEN, 1)
    return machine


def command(
    machine: Machine, sequence: int, *operations: Operation, below: int = 0, session: int = 1
) -> Any:
    return machine.run((Op.SESSION, session, sequence, below), *(operations or (PUT,)))


def revision(machine: Machine) -> Any:
    return machine.state.keys.revision


def test_a_repeated_command_gets_its_first_reply_and_changes_nothing(machine: Machine) -> None:
    first = command(machine, 1)
    assert first == ((0, 2, None),)
    command(machine, 2)
    assert command(machine, 1) == first
    assert revision(machine) == 3


def test_a_repetition_in_the_same_entry_is_carried_out_once(machine: Machine) -> None:
    request = schema.encode_request([(Op.SESSION, 1, 1, 0), PUT])
    first, second = machine.apply(schema.encode_batch([request, request]))
    assert first == second
    assert revision(machine) == 2


def test_all_operations_of_a_command_are_kept_as_one_reply(machine: Machine) -> None:
    operations = (PUT, schema.range_(b"k"), schema.delete_range(b"k"), (Op.LEASE_GRANT, 0, 5))
    first = command(machine, 1, *operations)
    assert [result[0] for result in first] == [Code.OK] * 4
    assert command(machine, 1, *operations) == first


def test_an_error_is_kept_as_any_reply(machine: Machine) -> None:
    with_lease = schema.put(b"k", b"v", lease=7)
    first = command(machine, 1, with_lease)
    assert first[0][0] == Code.NOT_FOUND
    machine.one(Op.LEASE_GRANT, 7, 30)
    assert command(machine, 1, with_lease) == first


def test_a_command_of_an_unknown_session_is_refused_as_a_whole(machine: Machine) -> None:
    assert command(machine, 1, PUT, PUT, session=9) == NOT_FOUND
    assert revision(machine) == 1


def test_a_command_that_was_answered_before_is_refused(machine: Machine) -> None:
    command(machine, 1)
    command(machine, 2, below=2)
    assert command(machine, 1) == ANSWERED
    assert command(machine, 1, below=1) == ANSWERED  # a late copy must not lower the bound
    assert command(machine, 2)[0][0] == Code.OK
    assert revision(machine) == 3


def test_a_command_below_its_own_bound_is_refused(machine: Machine) -> None:
    assert command(machine, 1, below=2) == ANSWERED
    assert revision(machine) == 1


def test_commands_may_come_out_of_order(machine: Machine) -> None:
    late = command(machine, 9)
    early = command(machine, 8)
    assert (late, early) == (((0, 2, None),), ((0, 3, None),))
    assert command(machine, 9) == late
    assert command(machine, 8) == early


def test_answered_replies_are_dropped(machine: Machine) -> None:
    for sequence in range(1, 50):
        command(machine, sequence, below=sequence - 3)
    # The last one and the three before it.
    one_reply = len(schema.encode_results(((0, 50, None),))) + KEPT_OVERHEAD_BYTES
    assert machine.state.sessions.bytes_kept == 4 * one_reply
    assert len(machine.state.sessions.reply_facts()) == 4
    machine.one(Op.SESSION_CLOSE, 1)
    assert machine.state.sessions.bytes_kept == 0


def test_a_bound_far_away_is_reached_without_walking_there(machine: Machine) -> None:
    command(machine, 1)
    command(machine, 1 << 62, below=1 << 62)
    assert command(machine, 1) == ANSWERED
    assert len(machine.state.sessions.reply_facts()) == 1


def test_opening_an_open_session_keeps_its_replies(machine: Machine) -> None:
    first = command(machine, 1)
    assert machine.one(Op.SESSION_OPEN, 1) == (0, 2)
    assert command(machine, 1) == first


def test_a_closed_session_is_gone_and_closing_it_again_is_no_error(machine: Machine) -> None:
    command(machine, 1)
    assert machine.one(Op.SESSION_CLOSE, 1) == (0, 2)
    assert machine.one(Op.SESSION_CLOSE, 1) == (0, 2)
    assert command(machine, 1) == NOT_FOUND
    assert machine.state.sessions.bytes_kept == 0


def test_a_command_that_closes_its_own_session_leaves_nothing_behind(machine: Machine) -> None:
    assert command(machine, 1, (Op.SESSION_CLOSE, 1)) == ((0, 1),)
    assert machine.state.sessions.bytes_kept == 0
    assert len(machine.state.sessions) == 0


def test_of_a_large_reply_it_is_kept_that_there_was_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.one(*schema.put(b"large", bytes(100)))
    monkeypatch.setattr(sessions, "REPLY_BYTES_MAX", 99)
    operations = (PUT, schema.range_(b"large"))
    assert command(machine, 1, *operations)[0] == (0, 3, None)
    assert command(machine, 1, *operations) == TOO_LARGE
    assert revision(machine) == 3
    machine.reload()
    assert command(machine, 1, *operations) == TOO_LARGE
    assert machine.state.sessions.bytes_kept == KEPT_OVERHEAD_BYTES


def test_a_reply_of_the_largest_size_is_kept_whole(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command(machine, 1)
    size_bytes = len(schema.encode_results(first))
    monkeypatch.setattr(sessions, "REPLY_BYTES_MAX", size_bytes)
    second = command(machine, 2)
    assert command(machine, 2) == second


def test_the_session_that_was_not_used_for_longest_goes_first(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    for session in (2, 3):
        machine.one(Op.SESSION_OPEN, session)
    command(machine, 1, session=1)
    command(machine, 1, session=1)
    machine.one(Op.SESSION_OPEN, 2)
    machine.reload()  # the order of use outlives it
    machine.one(Op.SESSION_OPEN, 4)
    assert command(machine, 1, session=3) == NOT_FOUND
    machine.one(Op.SESSION_OPEN, 5)
    assert command(machine, 2, session=1) == NOT_FOUND
    assert command(machine, 1, session=2)[0][0] == Code.OK


def test_a_repetition_counts_as_a_use(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    command(machine, 1)
    machine.one(Op.SESSION_OPEN, 2)
    command(machine, 1)
    machine.one(Op.SESSION_OPEN, 3)
    assert command(machine, 1, session=2) == NOT_FOUND
    assert command(machine, 1)[0][0] == Code.OK


def test_uses_in_one_entry_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    machine = Machine()
    machine.run((Op.SESSION_OPEN, 9), (Op.SESSION_OPEN, 1))
    machine.reload()
    machine.one(Op.SESSION_OPEN, 5)
    assert command(machine, 1, session=9) == NOT_FOUND
    assert command(machine, 1, session=1)[0][0] == Code.OK


def test_over_the_replies_of_one_session_the_oldest_is_forgotten_but_never_repeated(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "REPLIES_MAX", 3)
    for sequence in (4, 1, 3, 2):
        command(machine, sequence)
    assert command(machine, 1) == ANSWERED
    assert command(machine, 2)[0][0] == Code.OK
    assert revision(machine) == 5
    machine.reload()
    assert command(machine, 1) == ANSWERED


def test_over_the_bytes_of_all_sessions_the_least_used_ones_go(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.one(Op.SESSION_OPEN, 2)
    command(machine, 1, session=1)
    command(machine, 1, session=2)
    monkeypatch.setattr(sessions, "KEPT_BYTES_MAX", machine.state.sessions.bytes_kept)
    command(machine, 2, session=2)
    assert command(machine, 2, session=1) == NOT_FOUND
    # The one in use is bounded by what one session may keep.
    monkeypatch.setattr(sessions, "KEPT_BYTES_MAX", 0)
    kept = command(machine, 3, session=2)
    assert command(machine, 3, session=2) == kept


def test_what_one_session_may_keep_fits_what_all_may() -> None:
    one_reply = sessions.REPLY_BYTES_MAX + KEPT_OVERHEAD_BYTES
    assert sessions.REPLIES_MAX * one_reply <= sessions.KEPT_BYTES_MAX


def test_replies_and_bytes_outlive_a_reload(machine: Machine) -> None:
    first = command(machine, 5)
    machine.one(Op.SESSION_OPEN, -3)
    command(machine, -2, session=-3)
    bytes_kept = machine.state.sessions.bytes_kept
    machine.reload()
    assert machine.state.sessions.bytes_kept == bytes_kept
    assert command(machine, 5) == first
    machine.one(Op.SESSION_CLOSE, 1)
    machine.one(Op.SESSION_CLOSE, -3)
    assert machine.state.sessions.bytes_kept == 0


@pytest.mark.parametrize(
    "fact",
    [
        (b"session/x", bytes(24)),
        (b"session/" + bytes(8), b"x"),
        (b"reply/" + bytes(16), b"without a session"),
        (b"reply/x", b""),
    ],
)
def test_facts_that_are_no_session_are_damage(fact: tuple[bytes, bytes]) -> None:
    with pytest.raises(StorageDamaged, match="no session"):
        State(MemoryRecords(), [fact])


def test_no_sessions_make_no_facts() -> None:
    assert Sessions().facts() == Sessions().reply_facts() == []
