"""The clock of leases: never shorter than granted, not made longer by what the leader says."""

from collections.abc import Sequence

import pytest

from metastore.engines.contract import LeaseChange
from metastore.node import lease_clock
from metastore.node.lease_clock import LeaseClock


class Store:
    """Only what the clock asks of one."""

    def __init__(self) -> None:
        self.changes: list[LeaseChange] = []

    def take_lease_changes(self) -> Sequence[LeaseChange]:
        changes, self.changes = self.changes, []
        return changes


class Bench:
    """A clock around a stub store, and the time in a field."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.store = Store()
        self.clock = LeaseClock(self.store, lambda: self.now_s)  # type: ignore[arg-type]

    def apply(self, *changes: tuple[int, int]) -> None:
        self.store.changes += [LeaseChange(lease, ttl_s) for lease, ttl_s in changes]
        self.clock.take_changes()

    def expired(self, count_max: int = 100) -> list[int]:
        return list(self.clock.expired(count_max))

    def checkpoints(self) -> list[tuple[int, int]]:
        return sorted(self.clock.checkpoints(100))


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- expiry


def test_a_lease_expires_when_its_time_is_over_and_not_before(bench: Bench) -> None:
    bench.apply((7, 5))
    bench.now_s += 4.9
    assert bench.expired() == []
    bench.now_s += 0.2
    assert bench.expired() == [7]


def test_an_expired_lease_is_told_again_until_the_store_has_let_it_go(bench: Bench) -> None:
    bench.apply((7, 5))
    bench.now_s += 6
    assert bench.expired() == [7]
    assert bench.expired() == [7]
    bench.apply((7, 0))
    assert (bench.expired(), len(bench.clock)) == ([], 0)


def test_those_that_expired_first_come_first_and_only_so_many(bench: Bench) -> None:
    bench.apply((3, 30), (1, 10), (2, 20))
    bench.now_s += 40
    assert bench.expired(2) == [1, 2]
    bench.apply((1, 0))
    assert bench.expired(2) == [2, 3]


def test_a_renewal_gives_the_whole_time_again(bench: Bench) -> None:
    bench.apply((7, 5))
    bench.now_s += 4
    bench.apply((7, 5))
    bench.now_s += 4
    assert bench.expired() == []
    bench.now_s += 2
    assert bench.expired() == [7]


def test_a_renewal_that_is_applied_after_the_expiry_saves_the_lease(bench: Bench) -> None:
    bench.apply((7, 5))
    bench.now_s += 6
    assert bench.expired() == [7]
    bench.apply((7, 5))
    assert bench.expired() == []
    bench.now_s += 6
    assert bench.expired() == [7], "and it expires at last when nobody renews it any more"


def test_a_lease_granted_again_under_its_number_has_its_own_time(bench: Bench) -> None:
    bench.apply((7, 100))
    bench.now_s += 99
    bench.apply((7, 10))  # revoked and granted between two calls: the store tells the last state
    bench.now_s += 9
    assert bench.expired() == []
    bench.now_s += 2
    assert bench.expired() == [7]


def test_after_an_install_only_the_leases_of_the_new_state_are_known(bench: Bench) -> None:
    bench.apply((1, 5), (2, 5))
    bench.store.changes = [LeaseChange(2, 5)]
    bench.now_s += 3
    bench.clock.restart()
    bench.now_s += 3
    assert (bench.expired(), len(bench.clock)) == ([], 1)
    bench.now_s += 3
    assert bench.expired() == [2]


def test_the_remaining_time_is_in_whole_seconds_and_never_negative(bench: Bench) -> None:
    bench.apply((7, 5))
    bench.now_s += 1.5
    assert bench.clock.remaining_s(7) == 3
    bench.now_s += 100
    assert bench.clock.remaining_s(7) == 0
    assert bench.clock.remaining_s(8) == 0


def test_granting_and_revoking_long_leases_leaves_nothing_behind(bench: Bench) -> None:
    for lease in range(1, 5000):
        bench.apply((lease, 1 << 30), (lease, 0))
    assert len(bench.clock._queue) < 2000


def test_renewing_a_lease_often_leaves_nothing_behind(bench: Bench) -> None:
    for _ in range(5000):
        bench.apply((7, 1 << 30))
    assert len(bench.clock._queue) == 1


# --- checkpoints


def test_a_checkpoint_says_what_remains_of_a_long_lease(bench: Bench) -> None:  # F4
    """Else every restart of a node would give it its whole time again."""
    bench.apply((7, 100))
    bench.now_s += 9
    assert bench.checkpoints() == []
    bench.now_s += 11.5
    assert bench.checkpoints() == [(7, 80)]


def test_a_lease_with_little_to_live_is_worth_no_checkpoint(bench: Bench) -> None:
    bench.apply((7, 10), (8, 11))
    bench.now_s += 10.5
    assert bench.checkpoints() == [(8, 1)]


def test_no_checkpoint_when_hardly_anything_has_changed(bench: Bench) -> None:
    bench.apply((7, 1000))
    bench.now_s += 20
    assert bench.checkpoints() == []


def test_the_checkpoints_of_one_round_come_in_bounded_groups(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_clock, "LEASES_EXAMINED_MAX", 4)
    bench.apply(*((lease, 100) for lease in range(1, 8)))
    bench.now_s += 20
    groups = [bench.clock.checkpoints(3) for _ in range(4)]
    assert [len(group) for group in groups] == [3, 3, 1, 0]
    assert sorted(lease for group in groups for lease, _ in group) == list(range(1, 8))


def test_ones_own_checkpoints_do_not_lengthen_a_lease(bench: Bench) -> None:  # F4
    """Rounded up and applied late, each one would, and there are many in a long life."""
    bench.apply((7, 100))
    for _ in range(8):
        bench.now_s += 10.01
        found = bench.checkpoints()
        bench.now_s += 0.5  # until it is applied
        bench.apply(*found)
    bench.now_s = 1000 + 99.9
    assert bench.expired() == []
    bench.now_s += 0.2
    assert bench.expired() == [7]


def test_another_nodes_checkpoint_shortens_a_lease(bench: Bench) -> None:
    """A node that has just read its log again knows the whole time only."""
    bench.apply((7, 100))
    bench.apply((7, 20))
    bench.now_s += 21
    assert bench.expired() == [7]


def test_a_renewal_after_a_checkpoint_gives_the_whole_time(bench: Bench) -> None:
    bench.apply((7, 100))
    bench.now_s += 50
    bench.apply(*bench.checkpoints())
    bench.apply((7, 100))
    bench.now_s += 99
    assert bench.expired() == []
