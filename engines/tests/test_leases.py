"""Leases: what their operations answer, what hangs on them, and what the leader may do to them."""

import pytest
from state_machine import Machine, loaded

from metastore.engines import leases
from metastore.engines.contract import LeaseChange, StorageDamaged
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.state import State
from metastore.transport import schema
from metastore.transport.schema import Code, Op


@pytest.fixture
def machine() -> Machine:
    return Machine()


def grant(machine: Machine, lease: int = 7, ttl_s: int = 30) -> None:
    assert machine.one(Op.LEASE_GRANT, lease, ttl_s)[0] == Code.OK


def put(machine: Machine, key: bytes, lease: int = 0) -> None:
    assert machine.one(*schema.put(key, b"v", lease=lease))[0] == Code.OK


def keys_of(machine: Machine, lease: int = 7) -> tuple[bytes, ...]:
    return tuple(machine.read(Op.LEASE_TIME_TO_LIVE, lease, True)[4])


def changes(machine: Machine) -> list[tuple[int, int]]:
    return [(change.lease, change.ttl_s) for change in machine.state.take_lease_changes()]


def test_a_granted_lease_is_answered_with_its_id_and_ttl(machine: Machine) -> None:
    assert machine.one(Op.LEASE_GRANT, 7, 30) == (0, 1, 7, 30)
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False) == (0, 1, 30, 30, ())


@pytest.mark.parametrize("ttl_s", [-5, 0, 1, 2])
def test_a_short_ttl_is_raised_to_the_least(machine: Machine, ttl_s: int) -> None:
    assert machine.one(Op.LEASE_GRANT, 7, ttl_s) == (0, 1, 7, leases.LEASE_TTL_MIN_S)


def test_the_longest_ttl_is_granted_and_a_longer_one_is_not(machine: Machine) -> None:
    assert machine.one(Op.LEASE_GRANT, 7, 9_000_000_000)[0] == Code.OK
    refusal = (Code.OUT_OF_RANGE, schema.LEASE_TTL_TOO_LARGE)
    assert machine.one(Op.LEASE_GRANT, 8, 9_000_000_001) == refusal


def test_an_id_in_use_is_refused_and_its_lease_stays(machine: Machine) -> None:
    grant(machine, 7, 30)
    refusal = (Code.FAILED_PRECONDITION, schema.LEASE_EXISTS)
    assert machine.one(Op.LEASE_GRANT, 7, 60) == refusal
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False)[3] == 30


def test_more_leases_than_the_limit_are_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASES_MAX", 1)
    grant(machine, 7)
    refusal = (Code.RESOURCE_EXHAUSTED, leases.TOO_MANY_LEASES)
    assert machine.one(Op.LEASE_GRANT, 8, 30) == refusal
    machine.one(Op.LEASE_REVOKE, 7)
    grant(machine, 8)


def test_chosen_ids_are_large_positive_distinct_and_alike_on_every_replica() -> None:
    operations = [(Op.LEASE_GRANT, 0, 30)] * 100
    chosen = [result[2] for result in Machine(5).run(*operations)]
    assert chosen == [result[2] for result in Machine(5).run(*operations)]
    assert len(set(chosen)) == 100
    assert all(leases.CHOSEN_LEASE_MIN <= lease < 1 << 63 for lease in chosen)
    assert set(chosen).isdisjoint(result[2] for result in Machine(6).run(*operations))


def test_a_chosen_id_is_never_one_in_use() -> None:
    would_be = Machine(5).one(Op.LEASE_GRANT, 0, 30)[2]
    machine = Machine(4)
    grant(machine, would_be)
    assert machine.one(Op.LEASE_GRANT, 0, 30)[2] != would_be


def test_revoking_deletes_all_keys_in_one_revision_and_in_key_order(machine: Machine) -> None:
    grant(machine)
    for key in (b"c", b"a", b"b"):
        put(machine, key, 7)
    put(machine, b"other")
    machine.state.keys.events = []
    assert machine.one(Op.LEASE_REVOKE, 7) == (0, 6)
    graves = [record for record, _ in machine.state.keys.events]
    assert [(kv[0], kv[3], kv[4]) for kv in graves] == [(b"a", 6, 0), (b"b", 6, 0), (b"c", 6, 0)]
    assert machine.keys() == [b"other"]
    assert machine.read(Op.LEASES) == (0, 6, ())


def test_revoking_a_lease_without_keys_makes_no_revision(machine: Machine) -> None:
    grant(machine)
    assert machine.one(Op.LEASE_REVOKE, 7) == (0, 1)


def test_an_unknown_lease_cannot_be_revoked_or_put_to(machine: Machine) -> None:
    refusal = (Code.NOT_FOUND, schema.LEASE_NOT_FOUND)
    assert machine.one(Op.LEASE_REVOKE, 7) == refusal
    assert machine.one(*schema.put(b"a", b"", lease=7)) == refusal


def test_an_unknown_lease_has_no_time_to_live_and_is_not_kept_alive(machine: Machine) -> None:
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, True) == (0, 1, -1, 0, ())
    assert machine.one(Op.LEASE_KEEP_ALIVE, 7) == (0, 1, 0)
    assert len(machine.state.leases) == 0


def test_keys_of_a_lease_are_listed_sorted_when_asked_for(machine: Machine) -> None:
    grant(machine)
    for key in (b"c", b"a", b"b"):
        put(machine, key, 7)
    assert keys_of(machine) == (b"a", b"b", b"c")
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False)[4] == ()


def test_leases_are_listed_by_id(machine: Machine) -> None:
    for lease in (9, 3, 5):
        grant(machine, lease)
    assert machine.read(Op.LEASES) == (0, 1, (3, 5, 9))


def test_a_key_leaves_its_lease_when_put_without_one_put_to_another_or_deleted(
    machine: Machine,
) -> None:
    grant(machine, 7)
    grant(machine, 8)
    for key in (b"a", b"b", b"c", b"d"):
        put(machine, key, 7)
    put(machine, b"a")
    put(machine, b"b", 8)
    machine.one(*schema.delete_range(b"c"))
    assert keys_of(machine, 7) == (b"d",)
    assert keys_of(machine, 8) == (b"b",)
    machine.one(Op.LEASE_REVOKE, 7)
    assert machine.keys() == [b"a", b"b"]


def test_a_keep_alive_gives_the_whole_ttl_again(machine: Machine) -> None:
    grant(machine, 7, 30)
    machine.lead((Op.LEASE_CHECKPOINT, 7, 0, 10))
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False)[2] == 10
    changes(machine)
    assert machine.one(Op.LEASE_KEEP_ALIVE, 7) == (0, 1, 30)
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False)[2] == 30
    assert changes(machine) == [(7, 30)]


def test_an_expired_lease_goes_with_its_keys(machine: Machine) -> None:
    grant(machine)
    put(machine, b"a", 7)
    changes(machine)
    machine.lead((Op.LEASE_EXPIRE, 7, 0))
    assert machine.keys() == []
    assert machine.state.keys.revision == 3
    assert changes(machine) == [(7, 0)]


def test_a_renewal_in_between_saves_a_lease_from_expiry(machine: Machine) -> None:
    grant(machine)
    seen = machine.state.leases.get(7)
    assert seen is not None
    renewals = seen.renewals
    machine.one(Op.LEASE_KEEP_ALIVE, 7)
    machine.lead((Op.LEASE_EXPIRE, 7, renewals))
    assert machine.read(Op.LEASES)[2] == (7,)
    machine.lead((Op.LEASE_EXPIRE, 7, renewals + 1))
    assert machine.read(Op.LEASES)[2] == ()


def test_a_deposed_leader_cannot_let_a_lease_expire(machine: Machine) -> None:
    grant(machine)
    machine.lead((Op.LEASE_EXPIRE, 7, 0), term=4, proposed_in=3)
    assert machine.read(Op.LEASES)[2] == (7,)


def test_a_remainder_shortens_only_what_was_not_renewed_since_and_never_prolongs(
    machine: Machine,
) -> None:
    grant(machine, 7, 30)
    machine.lead((Op.LEASE_CHECKPOINT, 7, 0, 20))
    for remaining_s in (25, 31, 0, -1):
        machine.lead((Op.LEASE_CHECKPOINT, 7, 0, remaining_s))
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False) == (0, 1, 20, 30, ())
    machine.one(Op.LEASE_KEEP_ALIVE, 7)
    machine.lead((Op.LEASE_CHECKPOINT, 7, 0, 5))
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 7, False)[2] == 30


def test_internal_operations_on_unknown_leases_do_nothing(machine: Machine) -> None:
    machine.lead((Op.LEASE_EXPIRE, 7, 0), (Op.LEASE_CHECKPOINT, 7, 0, 5))
    assert changes(machine) == []


def test_changes_are_told_once_in_order_with_what_is_left_to_live(machine: Machine) -> None:
    grant(machine, 9, 90)
    grant(machine, 7, 30)
    grant(machine, 8, 40)
    machine.lead((Op.LEASE_CHECKPOINT, 8, 0, 11))
    machine.one(Op.LEASE_REVOKE, 7)
    machine.one(Op.LEASE_KEEP_ALIVE, 9)
    assert changes(machine) == [(8, 11), (7, 0), (9, 90)]
    assert changes(machine) == []


def test_after_loading_every_lease_is_a_change_with_its_remainder_and_keys(
    machine: Machine,
) -> None:
    grant(machine, 8, 40)
    grant(machine, 7, 30)
    put(machine, b"a", 7)
    machine.lead((Op.LEASE_CHECKPOINT, 8, 0, 11))
    machine.one(Op.LEASE_KEEP_ALIVE, 7)
    machine.reload()
    assert machine.state.take_lease_changes() == [LeaseChange(7, 30), LeaseChange(8, 11)]
    assert keys_of(machine) == (b"a",)
    machine.lead((Op.LEASE_EXPIRE, 7, 0))  # it was renewed once
    assert machine.keys() == [b"a"]
    machine.lead((Op.LEASE_EXPIRE, 7, 1))
    assert machine.keys() == []


def test_facts_load_in_any_order(machine: Machine) -> None:
    grant(machine, 7, 30)
    grant(machine, 8, 40)
    put(machine, b"a", 7)
    facts = list(machine.state.all_facts())
    machine.state = loaded(machine.state, facts[::-1])
    assert list(machine.state.all_facts()) == facts
    assert changes(machine) == [(7, 30), (8, 40)]


@pytest.mark.parametrize(
    "fact",
    [
        (b"lease/short", b""),
        (b"lease/" + bytes(8), b"x"),
        (b"leased/" + bytes(8) + b"key", b""),
        (b"leased/x", b""),
    ],
)
def test_facts_that_are_no_lease_are_damage(fact: tuple[bytes, bytes]) -> None:
    with pytest.raises(StorageDamaged, match="no lease"):
        State(MemoryRecords(), [fact])


def test_a_read_asks_the_clock_and_the_log_does_not(machine: Machine) -> None:
    grant(machine, 7, 30)
    machine.state.remaining_s = {7: 12}.__getitem__
    asked = (Op.LEASE_TIME_TO_LIVE, 7, False)
    assert machine.read(*asked) == (0, 1, 12, 30, ())
    assert machine.read(Op.LEASE_TIME_TO_LIVE, 8, False)[2] == -1
    # Replies of the log may be kept, and have to be the same everywhere.
    assert machine.one(*asked) == (0, 1, 30, 30, ())
