"""Locks and elections: who has it, who waits for whom, and who does not have it any more."""

import itertools
from typing import Any, cast

import pytest
from line_store import LineStore

from metastore.client import (
    ClientMisused,
    Election,
    InvalidRequest,
    LeaseLost,
    Lock,
    OutcomeUnknown,
    Unavailable,
    create_revision,
    ops,
)
from metastore.client.coordination import Coordination

TTL_S = 60


@pytest.fixture
def store() -> LineStore:
    return LineStore()


def lock(store: LineStore, **options: Any) -> Lock:
    return Lock(cast(Coordination, store), "jobs", ttl_s=TTL_S, **options)


def election(store: LineStore, **options: Any) -> Election:
    return Election(cast(Coordination, store), "chief", ttl_s=TTL_S, **options)


def test_a_lock_is_held_by_the_first_and_the_next_one_gets_it_afterwards(store: LineStore) -> None:
    first, second = lock(store), lock(store)
    assert first.acquire()
    assert not second.acquire(timeout_s=0)
    token = first.fencing_token
    first.release()
    assert second.acquire(timeout_s=0)
    assert second.fencing_token > token


def test_its_key_is_that_of_etcds_recipe(store: LineStore) -> None:
    with lock(store) as held:
        assert held.key == b"jobs/10"  # the lease's id, 16, in hex
        assert store.data[b"jobs/10"].create_revision == held.fencing_token
        assert store.data[b"jobs/10"].lease == 16
    assert store.data == {}


def test_a_waiter_that_gives_up_leaves_the_line(store: LineStore) -> None:
    first, second = lock(store), lock(store)
    first.acquire()
    assert not second.acquire(timeout_s=0)
    assert (list(store.data), store.revoked) == ([b"jobs/10"], [32])
    assert not second.is_held


def test_a_waiter_waits_for_the_one_before_it_only(store: LineStore) -> None:
    first, second, third = (lock(store) for _ in range(3))
    first.acquire()
    store.before_look = [lambda: None, lambda: None, first.release]
    assert second.acquire()
    store.before_look = [lambda: None, lambda: None, second.release]
    assert third.acquire()
    assert [key for key, _ in store.watched] == [b"jobs/10", b"jobs/20"]
    third.check()


def test_a_waiter_whose_lease_ended_meanwhile_does_not_get_the_lock(store: LineStore) -> None:
    first, second = lock(store), lock(store)
    first.acquire()

    def both_end() -> None:
        store.expire(32)
        first.release()

    store.before_look = [lambda: None, lambda: None, both_end]
    with pytest.raises(LeaseLost, match="ended while waiting in line"):
        second.acquire()
    assert not second.is_held


def test_a_waiter_whose_place_is_anothers_by_now_does_not_get_the_lock(store: LineStore) -> None:
    first = lock(store)
    first.acquire()
    lease = store.lease(TTL_S)
    second = lock(store, lease=lease)

    def replace() -> None:
        store.delete(b"jobs/20")
        first.release()
        store.txn(create_revision(b"jobs/20") == 0, [ops.put(b"jobs/20", lease=lease)])

    store.before_look = [lambda: None, lambda: None, replace]
    with pytest.raises(LeaseLost):
        second.acquire()


def test_a_waiter_notices_that_its_lease_is_lost_while_nothing_happens(store: LineStore) -> None:
    first = lock(store)
    first.acquire()
    lease = store.lease(TTL_S)
    store.before_look = [lambda: None, lambda: lease._lose("it was revoked")]
    with pytest.raises(LeaseLost, match="revoked"):
        lock(store, lease=lease).acquire()


def test_a_holder_whose_lease_is_lost_is_told_when_it_asks_and_when_it_leaves(
    store: LineStore,
) -> None:
    lease = store.lease(TTL_S)
    held = lock(store, lease=lease)
    held.acquire()
    held.check()
    lease._lose("the cluster has ended it")
    with pytest.raises(LeaseLost, match="has ended it"):
        held.check()
    with pytest.raises(LeaseLost, match="has ended it"):
        held.__exit__(None)


def test_the_error_of_the_work_is_not_hidden_by_the_lost_lock(store: LineStore) -> None:
    lease = store.lease(TTL_S)
    held = lock(store, lease=lease)
    held.acquire()
    lease._lose("the cluster has ended it")
    held.__exit__(KeyError)  # raises nothing of its own
    assert not held.is_held


def test_a_lock_on_a_given_lease_lets_go_of_the_key_and_not_of_the_lease(store: LineStore) -> None:
    lease = store.lease(TTL_S)
    with lock(store, lease=lease):
        assert list(store.data) == [b"jobs/10"]
    assert (store.data, store.revoked, lease.is_alive) == ({}, [], True)


@pytest.mark.parametrize("is_given", [True, False])
def test_an_attempt_of_unknown_outcome_leaves_nobody_in_line(
    store: LineStore, is_given: bool
) -> None:
    options = {"lease": store.lease(TTL_S)} if is_given else {}
    store.fails_next_txn = True
    with pytest.raises(OutcomeUnknown):
        lock(store, **options).acquire()
    assert store.data == {}


def test_a_lock_is_not_reentrant_and_not_released_unless_held(store: LineStore) -> None:
    held = lock(store)
    for use in (held.release, held.check, lambda: held.fencing_token):
        with pytest.raises(ClientMisused):
            use()
    with held, pytest.raises(ClientMisused, match="twice"):
        held.acquire()


def test_a_lock_needs_a_name(store: LineStore) -> None:
    with pytest.raises(InvalidRequest):
        Lock(cast(Coordination, store), "")


def test_a_release_that_the_cluster_did_not_hear_of_is_told_but_does_not_end_the_block(
    store: LineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("nobody there")

    first, second = lock(store), lock(store)
    with first:
        monkeypatch.setattr(store, "expire", fail)
    assert not first.is_held
    store.data.clear()
    second.acquire()
    with pytest.raises(Unavailable):
        second.release()
    assert not second.is_held


def test_the_elected_one_is_seen_with_its_value_until_it_resigns(store: LineStore) -> None:
    chief, other = election(store), election(store)
    assert chief.leader() is None
    assert chief.campaign("a")
    assert not other.campaign("b", timeout_s=0)
    leader = other.leader()
    assert leader is not None
    assert (leader.value, leader.create_revision) == (b"a", chief.fencing_token)
    chief.proclaim("c")
    leader = other.leader()
    assert leader is not None
    assert (leader.value, leader.create_revision) == (b"c", chief.fencing_token)
    chief.resign()
    assert other.campaign("b")
    assert other.is_leader


def test_who_leads_no_more_cannot_proclaim(store: LineStore) -> None:
    chief = election(store)
    chief.campaign("a")
    store.expire(16)
    with pytest.raises(LeaseLost, match="key is gone"):
        chief.proclaim("b")
    assert store.data == {}


def test_only_who_was_elected_may_proclaim_or_resign(store: LineStore) -> None:
    with pytest.raises(ClientMisused):
        election(store).proclaim("a")
    with pytest.raises(ClientMisused):
        election(store).resign()


def test_a_spectator_sees_one_leader_after_the_other(store: LineStore) -> None:
    first, second = election(store), election(store)
    first.campaign("a")

    def hand_over() -> None:
        first.resign()
        second.campaign("b")

    seen = election(store).observe()
    assert next(seen).value == b"a"
    store.before_look = [hand_over]
    assert next(seen).value == b"b"
    assert [kv.value for kv in itertools.islice(election(store).observe(timeout_s=0), 2)] == [b"b"]
