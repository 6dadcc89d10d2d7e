"""Alarms: only the leader's entries change them; without space nothing makes the store larger."""

from typing import Any

import pytest
from state_machine import Machine

from metastore.engines.alarms import has_put
from metastore.transport import schema
from metastore.transport.schema import Alarm, Code, Op

REFUSAL = (Code.RESOURCE_EXHAUSTED, schema.NO_SPACE)
A_PUT = schema.put(b"new", b"")
A_RANGE = schema.range_(b"k")
A_DELETE = schema.delete_range(b"k")


@pytest.fixture
def full() -> Machine:
    machine = Machine()
    machine.run(schema.put(b"k", b"v"), (Op.LEASE_GRANT, 7, 30), (Op.SESSION_OPEN, 1))
    machine.lead((Op.ALARM, Alarm.NOSPACE, True))
    return machine


@pytest.mark.parametrize(
    "operation",
    [
        A_PUT,
        (Op.LEASE_GRANT, 8, 30),
        schema.txn([], [A_PUT]),
        schema.txn([], [], [A_PUT]),
        schema.txn([], [schema.txn([], [A_RANGE], [A_DELETE, A_PUT])]),
    ],
)
def test_without_space_whatever_needs_some_is_refused(full: Machine, operation: Any) -> None:
    before = full.state.keys.revision
    assert full.one(*operation) == REFUSAL
    assert full.state.keys.revision == before
    assert len(full.state.leases) == 1


@pytest.mark.parametrize(
    "operation",
    [
        A_RANGE,
        A_DELETE,
        schema.txn([], [A_DELETE], [schema.txn([], [A_RANGE])]),
        (Op.COMPACT, 2, False),
        (Op.LEASE_KEEP_ALIVE, 7),
        (Op.LEASE_REVOKE, 7),
        (Op.LEASES,),
        (Op.ALARMS,),
        (Op.SESSION_OPEN, 2),
        (Op.SESSION_CLOSE, 1),
    ],
)
def test_without_space_everything_else_goes_on(full: Machine, operation: Any) -> None:
    assert full.one(*operation)[0] == Code.OK


def test_with_space_again_puts_go_on(full: Machine) -> None:
    full.lead((Op.ALARM, Alarm.NOSPACE, False))
    for operation in (A_PUT, schema.txn([], [A_PUT]), (Op.LEASE_GRANT, 8, 30)):
        assert full.one(*operation)[0] == Code.OK


def test_alarms_are_listed_and_last_over_a_reload(full: Machine) -> None:
    full.lead((Op.ALARM, Alarm.CORRUPT, True))
    full.reload()
    assert full.read(Op.ALARMS) == (0, 2, (Alarm.NOSPACE, Alarm.CORRUPT))
    assert full.one(*A_PUT) == REFUSAL
    full.lead((Op.ALARM, Alarm.NOSPACE, False))
    assert full.read(Op.ALARMS) == (0, 2, (Alarm.CORRUPT,))
    assert full.one(*A_PUT)[0] == Code.OK


def test_a_refused_command_of_a_session_is_answered_the_same_when_there_is_space(
    full: Machine,
) -> None:
    command = ((Op.SESSION, 1, 1, 0), A_PUT)
    assert full.run(*command) == (REFUSAL,)
    full.lead((Op.ALARM, Alarm.NOSPACE, False))
    assert full.run(*command) == (REFUSAL,)


def test_an_unknown_alarm_is_passed_over(full: Machine) -> None:
    full.lead((Op.ALARM, 99, True))
    assert full.state.alarms.as_tuple() == (Alarm.NOSPACE,)


def test_a_deposed_leader_sets_no_alarm() -> None:
    machine = Machine()
    machine.lead((Op.ALARM, Alarm.NOSPACE, True), term=4, proposed_in=3)
    assert machine.state.alarms.as_tuple() == ()


def test_a_put_is_found_in_any_branch() -> None:
    for depth in range(3):
        txn = schema.txn([], [A_RANGE], [A_PUT])
        assert has_put(txn)
        assert not has_put(schema.txn([], [A_DELETE], [A_RANGE]))
        for _ in range(depth):
            txn = schema.txn([], [A_RANGE, txn])
        assert has_put(txn)
