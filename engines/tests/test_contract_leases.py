"""What every engine's Store owes a node about leases and sessions, and keeps over a snapshot."""

from typing import Any

import pytest
from engines_under_test import (
    ALL,
    OPEN,
    hash_of,
    install,
    read,
    run,
    run_each,
    run_internal,
    save,
)

from metastore.engines.contract import LeaseChange
from metastore.transport.schema import (
    LEASE_NOT_FOUND,
    SESSION_NOT_FOUND,
    Alarm,
    Code,
    Op,
    Operation,
    put,
)

GRANT = (Op.LEASE_GRANT, 7, 60)


def time_to_live(lease: int) -> Operation:
    return (Op.LEASE_TIME_TO_LIVE, lease, True)


def once(session: int, sequence: int, answered_below: int = 0) -> Operation:
    return (Op.SESSION, session, sequence, answered_below)


# Leases


def test_a_revoked_lease_takes_its_keys_in_one_revision(store: Any) -> None:
    store.collect_events(True)
    run_each(store, GRANT, put(b"b", b"", lease=7), put(b"a", b"", lease=7), put(b"c", b""))
    store.take_events()
    assert run(store, (Op.LEASE_REVOKE, 7)) == ((Code.OK, 5),)
    assert [(new[0], new[3]) for new, _ in store.take_events()] == [(b"a", 5), (b"b", 5)]
    assert [key for key, _ in store.scan()] == [b"c"]
    assert run(store, put(b"k", b"", lease=7)) == ((Code.NOT_FOUND, LEASE_NOT_FOUND),)


def test_a_key_written_without_its_lease_leaves_it(store: Any) -> None:
    run_each(store, GRANT, put(b"a", b"", lease=7), put(b"b", b"", lease=7), put(b"a", b""))
    assert read(store, time_to_live(7))[4] == (b"b",)
    run(store, (Op.LEASE_REVOKE, 7))
    assert [key for key, _ in store.scan()] == [b"a"]


def test_a_clock_is_told_of_every_change_in_order(store: Any) -> None:
    assert not store.take_lease_changes()
    run_each(store, GRANT, (Op.LEASE_GRANT, 8, 90))
    assert list(store.take_lease_changes()) == [LeaseChange(7, 60), LeaseChange(8, 90)]
    run_each(store, (Op.LEASE_KEEP_ALIVE, 8), (Op.LEASE_REVOKE, 7))
    assert list(store.take_lease_changes()) == [LeaseChange(8, 90), LeaseChange(7, 0)]
    assert not store.take_lease_changes()


def test_a_renewal_saves_a_lease_that_is_about_to_expire(store: Any) -> None:
    run_each(store, GRANT, put(b"k", b"", lease=7))
    seen = store.lease_renewals(7)
    run(store, (Op.LEASE_KEEP_ALIVE, 7))
    run_internal(store, (Op.LEASE_EXPIRE, 7, seen))
    assert store.key_count == 1
    run_internal(store, (Op.LEASE_EXPIRE, 7, store.lease_renewals(7)))
    assert store.key_count == 0
    assert store.lease_renewals(7) == 0, "of no lease"


def test_the_clock_answers_what_is_left_of_a_lease(store: Any) -> None:
    run(store, GRANT)
    assert read(store, time_to_live(7)) == (Code.OK, 1, 60, 60, ())
    store.set_lease_clock({7: 41}.__getitem__)
    assert read(store, time_to_live(7)) == (Code.OK, 1, 41, 60, ())
    assert read(store, time_to_live(8)) == (Code.OK, 1, -1, 0, ())


# Sessions


def test_a_command_sent_twice_is_carried_out_once(store: Any) -> None:
    run(store, (Op.SESSION_OPEN, 5))
    first = run(store, once(5, 1), put(b"k", b"v", prev_kv=True))
    assert run(store, once(5, 1), put(b"k", b"v", prev_kv=True)) == first == ((Code.OK, 2, None),)
    assert store.revision == 2
    unknown = run(store, once(6, 1), put(b"k", b"v"))
    assert unknown == ((Code.FAILED_PRECONDITION, SESSION_NOT_FOUND),)


# Both, over a snapshot


@pytest.fixture
def lively(open_store: OPEN) -> Any:
    """A store with a bit of everything."""
    store = open_store("lively")
    store.skip(1, 1, b"members")
    run_each(store, GRANT, (Op.LEASE_GRANT, 8, 90), put(b"k", b"", lease=7))
    run_each(store, (Op.LEASE_KEEP_ALIVE, 7), (Op.SESSION_OPEN, 5))
    run(store, once(5, 1), put(b"once", b""))
    run_internal(store, (Op.LEASE_CHECKPOINT, 8, 0, 50), (Op.ALARM, int(Alarm.CORRUPT), True))
    return store


def check_lively(store: Any, revision: int = 3) -> None:
    changes = sorted(store.take_lease_changes(), key=lambda change: change.lease)
    assert changes == [LeaseChange(7, 60), LeaseChange(8, 50)]
    assert store.lease_renewals(7) == 1
    assert read(store, time_to_live(7))[4] == (b"k",)
    assert list(store.alarms) == [Alarm.CORRUPT]
    assert run(store, once(5, 1), put(b"once", b"")) == ((Code.OK, revision, None),)
    assert store.revision == revision
    run(store, (Op.LEASE_REVOKE, 7))
    assert [key for key, _ in store.scan()] == [b"once"]


def test_leases_sessions_and_alarms_outlast_a_restart(open_store: OPEN, lively: Any) -> None:
    save(lively)
    check_lively(open_store("lively"))


def test_leases_sessions_and_alarms_come_with_an_installed_snapshot(
    open_store: OPEN, lively: Any, tmp_path: Any
) -> None:
    target = open_store("target")
    install(lively, target, tmp_path / "received")
    assert target.applied == lively.applied
    assert hash_of(target) == hash_of(lively)
    check_lively(target)


def test_an_install_tells_the_clock_which_leases_are_gone(
    open_store: OPEN, lively: Any, tmp_path: Any
) -> None:
    target = open_store("target")
    target.set_lease_clock(lambda lease: lease * 2)
    target.collect_events(True)
    run_each(target, (Op.LEASE_GRANT, 7, 10), (Op.LEASE_GRANT, 9, 10), put(b"old", b"", lease=9))
    install(lively, target, tmp_path / "received")
    changes = {change.lease: change.ttl_s for change in target.take_lease_changes()}
    assert changes == {7: 60, 8: 50, 9: 0}
    assert read(target, time_to_live(7))[2] == 14, "the clock is still asked"
    assert not target.take_events(), "an install is no event"
    run(target, put(b"new", b""))
    assert [new[0] for new, _ in target.take_events()] == [b"new"]
    assert read(target, (Op.RANGE, *ALL, 0, 0, 0))[4] == 3
