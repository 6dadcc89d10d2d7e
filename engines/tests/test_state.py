"""The state machine: the same log gives the same state and replies, whatever the log holds."""

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from state_machine import TERM, Machine, random_entries, visible_versions

from metastore.engines import sessions
from metastore.engines import state as state_module
from metastore.engines.contract import StorageDamaged
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.scalars import SCALARS_FACT
from metastore.engines.state import State
from metastore.transport import schema
from metastore.transport.schema import Code, Op

PUT = schema.put(b"k", b"v")
ENTRIES = 300


def everything(state: State) -> tuple[object, ...]:
    """All that replicas share: not the size, which compaction lowers whenever it gets to it."""
    facts = [fact for fact in state.all_facts() if fact[0] != SCALARS_FACT]
    keys = state.keys
    scalars = (keys.revision, keys.compacted_revision, state.alarms.as_tuple())
    return facts, scalars, visible_versions(state)


def history_digest(seed: int) -> str:
    """Of all replies and of the state after them."""
    machine, digest = Machine(), hashlib.sha256()
    for term, data in random_entries(seed, ENTRIES):
        for reply in machine.apply(data, term):
            digest.update(reply)
    digest.update(repr(everything(machine.state)).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("seed", range(12))
def test_a_state_loaded_in_the_middle_goes_on_as_the_one_that_was_never_stored(seed: int) -> None:
    steady, restarted = Machine(), Machine()
    for number, (term, data) in enumerate(random_entries(seed, ENTRIES)):
        if number % 50 == 25:
            restarted.reload()
        assert steady.apply(data, term) == restarted.apply(data, term)
        if number % 20 == 0:
            assert everything(steady.state) == everything(restarted.state)
    assert everything(steady.state) == everything(restarted.state)


@pytest.mark.parametrize("seed", range(12))
def test_the_changed_facts_add_up_to_all_facts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # so small that something has to be forgotten all the time
        monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
        monkeypatch.setattr(sessions, "REPLIES_MAX", 2)
    machine = Machine()
    kept = dict(machine.state.all_facts())
    machine.state.collects_facts = True
    for term, data in random_entries(seed, ENTRIES):
        machine.apply(data, term)
        for name, value in machine.state.take_changed_facts().items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = value
        assert kept == dict(machine.state.all_facts())


@pytest.mark.parametrize("seed", range(3))
def test_facts_come_by_name(seed: int) -> None:
    machine, kinds = Machine(), set()
    for term, data in random_entries(seed, ENTRIES):
        machine.apply(data, term)
        names = [name for name, _ in machine.state.all_facts()]
        assert names == sorted(set(names))
        kinds |= {name.split(b"/")[0] for name in names}
    assert kinds == {b"auth", b"lease", b"leased", b"reply", b"scalars", b"session"}


def test_processes_with_other_hash_orders_agree() -> None:
    program = "import test_state; print(test_state.history_digest(7))"
    here = str(Path(__file__).parent)
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        path = os.pathsep.join((here, *filter(None, sys.path)))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(ran.stdout)
    assert digests == {history_digest(7) + "\n"}


EDGES = [(1 << 64) - 1, 1 << 63, (1 << 63) - 1, -1, -(1 << 63)]


@pytest.mark.parametrize("number", EDGES)
def test_numbers_at_the_edge_of_what_the_wire_carries_get_a_reply(number: int) -> None:
    machine = Machine()
    machine.state.collects_facts = True
    machine.run(PUT, PUT, (Op.LEASE_GRANT, 1, 30), (Op.SESSION_OPEN, 1))
    for revision, end in itertools.product((0, 2, number), (b"", b"z", b"\0")):
        machine.one(Op.RANGE, b"k", end, number, revision, 0)
        machine.one(Op.FILTERED_RANGE, b"k", end, number, revision, 0, 1, 1, number, 0, 0, 0)
        nested = (Op.RANGE, b"k", end, number, revision, number)
        machine.one(Op.TXN, ((0, 0, b"k", end, number),), (nested,), (nested,))
    for code in (Op.SESSION_OPEN, Op.LEASE_KEEP_ALIVE, Op.LEASE_REVOKE, Op.SESSION_CLOSE):
        machine.one(code, number)
    machine.one(Op.PUT, b"k", b"", number, number)
    machine.one(Op.COMPACT, number, True)
    for lease_or_session, other in itertools.product((1, number), EDGES):
        machine.one(Op.LEASE_GRANT, lease_or_session, other)
        machine.run((Op.SESSION, lease_or_session, number, other), PUT)
    machine.lead((Op.LEASE_EXPIRE, 1, number), (Op.LEASE_CHECKPOINT, 1, number, number))
    machine.reload()


def test_one_reply_per_request_in_order() -> None:
    machine = Machine()
    requests = [
        schema.encode_request([PUT]),
        b"\xc1",
        schema.encode_request([PUT, schema.range_(b"k"), (Op.LEASES,)]),
    ]
    replies = machine.apply(schema.encode_batch(requests))
    first, bad, last = map(schema.decode_results, replies)
    assert first == ((0, 2, None),)
    assert bad[0][0] == Code.INVALID_ARGUMENT
    assert len(bad) == 1
    assert [result[:2] for result in last] == [(0, 3), (0, 3), (0, 3)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x07",
        b"\xa3abc",
        b"\xc4\x03abc",
        b"\x83\x01\x02\x03\x04\x05\x06",
        schema.encode_batch([]),
        b"\x93\xc0\xc0\xc0",
        b"\x93\xc0\x03\xc4\x01\xc1",
        schema.encode_internal(TERM, []),
        schema.encode_internal(TERM, [PUT]),
        schema.encode_internal(TERM, [(Op.LEASE_EXPIRE, 1)]),
    ],
)
def test_bytes_that_are_no_batch_hold_no_requests(data: bytes) -> None:
    machine = Machine()
    assert machine.apply(data) == []
    assert machine.one(*PUT) == (0, 2, None)


@pytest.mark.parametrize("element", [5, None, "text", (), {}])
def test_what_is_no_request_in_a_batch_gets_an_error_reply(element: object) -> None:
    machine = Machine()
    (reply,) = machine.apply(schema.encode_batch([element]))  # type: ignore[list-item]
    assert schema.decode_results(reply)[0][0] == Code.INVALID_ARGUMENT


def test_a_client_cannot_send_what_only_a_leader_may() -> None:
    machine = Machine()
    machine.one(Op.LEASE_GRANT, 7, 30)
    assert machine.one(Op.LEASE_EXPIRE, 7, 0)[0] == Code.INVALID_ARGUMENT
    assert machine.read(Op.LEASES)[2] == (7,)


def test_a_leader_may_compact_in_its_term_only() -> None:
    machine = Machine()
    machine.run(PUT, PUT, PUT)
    machine.lead((Op.COMPACT, 3, False), term=4, proposed_in=3)
    assert machine.state.keys.compacted_revision == 0
    machine.lead((Op.COMPACT, 3, False))
    assert machine.state.keys.compacted_revision == 3


def test_a_hash_is_not_worked_out_in_the_log_nor_among_reads() -> None:
    machine = Machine()
    refusal = (Code.UNIMPLEMENTED, state_module.HASH_ELSEWHERE)
    assert machine.run(PUT, (Op.HASH, 0)) == ((0, 2, None), refusal)
    assert machine.read(Op.HASH, 0) == refusal


@pytest.mark.parametrize(
    "operation", [PUT, (Op.LEASE_KEEP_ALIVE, 1), (Op.SESSION_OPEN, 1), schema.txn([], [PUT])]
)
def test_a_read_changes_nothing(operation: schema.Operation) -> None:
    machine = Machine()
    before = everything(machine.state)
    assert machine.read(*operation) == (Code.INVALID_ARGUMENT, state_module.NOT_A_READ)
    assert everything(machine.state) == before


def test_a_read_of_bad_bytes_gets_an_error_reply() -> None:
    (result,) = schema.decode_results(Machine().state.read(b"\xc1"))
    assert result[0] == Code.INVALID_ARGUMENT


def test_facts_are_collected_only_when_wanted() -> None:
    machine = Machine()
    machine.run(PUT, (Op.SESSION_OPEN, 1))
    assert not machine.state.collects_facts
    machine.state.collects_facts = True
    assert machine.state.take_changed_facts() == {}
    machine.run(PUT, (Op.SESSION_OPEN, 2))
    assert len(machine.state.take_changed_facts()) == 2  # scalars and the session
    assert machine.state.take_changed_facts() == {}
    machine.run((Op.SESSION_OPEN, 3))
    machine.state.collects_facts = False
    assert machine.state.take_changed_facts() == {}


def test_a_change_of_size_outside_of_the_log_is_a_changed_fact() -> None:
    machine = Machine()
    machine.run(PUT, PUT, PUT)
    machine.run((Op.COMPACT, 4, False))
    machine.state.collects_facts = True
    assert not machine.state.keys.compact_step(100)
    assert list(machine.state.take_changed_facts()) == [SCALARS_FACT]


@pytest.mark.parametrize(
    "fact",
    [
        (b"of/a/later/release", b""),
        (b"scalars", b"\xc1"),
        (b"scalars", b"\x07"),
        (b"scalars", b"\x93\x01\x00\x00"),
    ],
)
def test_a_fact_that_is_not_understood_is_damage(fact: tuple[bytes, bytes]) -> None:
    with pytest.raises(StorageDamaged):
        State(MemoryRecords(), [fact])
