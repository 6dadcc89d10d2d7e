"""What a leader proposes by itself: once each, in its own term only, when there is a reason."""

import pytest

from metastore.engines.contract import SnapshotMeta
from metastore.node.housekeeping import (
    COMPACT_SLICE_CHANGES,
    EXPIRATIONS_MAX,
    IDLE_SLICES_MAX,
    Housekeeping,
)
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.model import Role
from metastore.transport import schema
from metastore.transport.schema import Alarm, Op

TERM = 4
EXPIRE, CHECKPOINT = int(Op.LEASE_EXPIRE), int(Op.LEASE_CHECKPOINT)
ALARM, COMPACT = int(Op.ALARM), int(Op.COMPACT)


class Core:
    """A leader of TERM; remembers what was proposed."""

    def __init__(self) -> None:
        self.role, self.term, self.last_index = Role.LEADER, TERM, 10
        self.proposed: list[tuple[int, list[object]]] = []
        self.takes_proposals = True

    def propose(self, data: bytes) -> None:
        if not self.takes_proposals:
            raise ProposalDropped
        found = schema.decode_internal_or_none(schema.decode_batch(data))
        assert found is not None
        self.proposed.append((found[0], list(found[1])))
        self.last_index += 1


class Store:
    def __init__(self) -> None:
        self.applied = SnapshotMeta(10, TERM)
        self.revision, self.compacted_revision = 1, -1
        self.size_bytes = 0
        self.alarms: list[int] = []
        self.slices: list[int] = []
        self.has_more = False

    def lease_renewals(self, lease: int) -> int:
        return lease * 10

    def compact_step(self, changes_max: int) -> bool:
        self.slices.append(changes_max)
        return self.has_more


class Leases:
    def __init__(self) -> None:
        self.due: list[int] = []
        self.to_tell: list[tuple[int, int]] = []

    def expired(self, count_max: int) -> list[int]:
        return self.due[:count_max]

    def checkpoints(self, count_max: int) -> list[tuple[int, int]]:
        return self.to_tell[:count_max]


class Bench:
    def __init__(self) -> None:
        self.core, self.store, self.leases = Core(), Store(), Leases()
        self.may_propose = True
        self.keeping = Housekeeping(
            self.core,  # type: ignore[arg-type]
            self.store,  # type: ignore[arg-type]
            self.leases,  # type: ignore[arg-type]
            quota_bytes=1000,
            auto_compact_revisions=100,
            may_propose=lambda: self.may_propose,
        )

    def tick(self) -> list[object]:
        """The operations proposed by one tick."""
        self.core.proposed.clear()
        self.keeping.on_tick()
        return [operation for _, group in self.core.proposed for operation in group]

    def apply_all(self) -> None:
        self.store.applied = SnapshotMeta(self.core.last_index, self.core.term)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- leases


def test_an_expired_lease_is_proposed_with_the_renewals_that_the_leader_has_seen(
    bench: Bench,
) -> None:
    bench.leases.due = [7]
    assert bench.tick() == [(EXPIRE, 7, 70)]
    assert bench.core.proposed[0][0] == TERM


def test_nothing_is_proposed_again_while_it_is_under_way(bench: Bench) -> None:
    bench.leases.due = [7]
    assert bench.tick()
    assert bench.tick() == []
    bench.apply_all()
    assert bench.tick() == [(EXPIRE, 7, 70)], "applied, and the lease is still there"


def test_what_was_under_way_in_a_lost_term_is_proposed_again_in_the_next_one(
    bench: Bench,
) -> None:
    bench.leases.due = [7]
    assert bench.tick()
    bench.core.term = TERM + 2
    bench.store.applied = SnapshotMeta(10, TERM + 2)
    assert bench.tick() == [(EXPIRE, 7, 70)]
    assert bench.core.proposed[0][0] == TERM + 2


def test_a_new_leader_waits_until_an_entry_of_its_term_is_applied(bench: Bench) -> None:
    """Until then a renewal that the leader before it confirmed may not have arrived here."""
    bench.leases.due = [7]
    bench.store.applied = SnapshotMeta(10, TERM - 1)
    assert bench.tick() == []
    bench.store.applied = SnapshotMeta(11, TERM)
    assert bench.tick() == [(EXPIRE, 7, 70)]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.PRE_CANDIDATE])
def test_only_a_leader_proposes(bench: Bench, role: Role) -> None:
    bench.leases.due = [7]
    bench.core.role = role
    assert bench.tick() == []


def test_a_stopping_node_proposes_nothing(bench: Bench) -> None:
    bench.leases.due = [7]
    bench.may_propose = False
    assert bench.tick() == []


def test_a_dropped_proposal_is_made_again_at_the_next_tick(bench: Bench) -> None:
    bench.leases.due = [7]
    bench.core.takes_proposals = False
    assert bench.tick() == []
    bench.core.takes_proposals = True
    assert bench.tick() == [(EXPIRE, 7, 70)]


def test_one_entry_lets_a_bounded_number_of_leases_expire(bench: Bench) -> None:
    bench.leases.due = list(range(1, 2 * EXPIRATIONS_MAX))
    assert len(bench.tick()) == EXPIRATIONS_MAX


def test_everything_of_one_tick_goes_into_one_entry(bench: Bench) -> None:
    bench.leases.due, bench.leases.to_tell = [7], [(8, 50)]
    bench.store.size_bytes, bench.store.revision = 1001, 500
    assert bench.tick() == [
        (EXPIRE, 7, 70),
        (CHECKPOINT, 8, 80, 50),
        (ALARM, int(Alarm.NOSPACE), True),
        (COMPACT, 400, False),
    ]
    assert len(bench.core.proposed) == 1


# --- the quota


def test_the_alarm_goes_on_above_the_quota_and_off_well_below_it(bench: Bench) -> None:
    bench.store.size_bytes = 1000
    assert bench.tick() == []
    bench.store.size_bytes = 1001
    assert bench.tick() == [(ALARM, 1, True)]
    bench.apply_all()
    bench.store.alarms = [1]
    assert bench.tick() == []
    bench.store.size_bytes = 900
    assert bench.tick() == []
    bench.store.size_bytes = 899
    assert bench.tick() == [(ALARM, 1, False)]


def test_without_a_quota_the_alarm_only_goes_off(bench: Bench) -> None:
    bench.keeping._quota_bytes = 0
    bench.store.size_bytes = 1 << 60
    assert bench.tick() == []
    bench.store.alarms = [1]
    assert bench.tick() == [(ALARM, 1, False)]


# --- compaction


def test_old_revisions_are_compacted_when_twice_as_many_as_wanted_are_kept(bench: Bench) -> None:
    bench.store.revision = 200
    assert bench.tick() == []
    bench.store.revision = 201
    assert bench.tick() == [(COMPACT, 101, False)]
    bench.apply_all()
    bench.store.compacted_revision = 101
    assert bench.tick() == []


def test_compaction_can_be_left_to_the_clients(bench: Bench) -> None:
    bench.keeping._auto_compact_revisions = 0
    bench.store.revision = 1 << 40
    assert bench.tick() == []


def compact(bench: Bench, turns: int, *, is_idle: bool) -> list[int]:
    """The slices of so many turns."""
    bench.store.slices.clear()
    for _ in range(turns):
        bench.keeping.compact_a_little(is_idle=is_idle)
    return bench.store.slices


def test_a_busy_node_compacts_one_slice_a_tick(bench: Bench) -> None:
    bench.store.compacted_revision, bench.store.has_more = 50, True
    bench.keeping.on_tick()
    assert compact(bench, 5, is_idle=False) == [COMPACT_SLICE_CHANGES]
    assert bench.keeping.has_more


def test_compaction_keeps_up_with_writes_that_never_pause(bench: Bench) -> None:
    bench.store.compacted_revision, bench.store.has_more = 50, True
    bench.store.revision += 1000
    bench.keeping.on_tick()
    assert sum(compact(bench, 20, is_idle=False)) == 2500


def test_an_idle_node_compacts_more_but_not_without_end(bench: Bench) -> None:
    """A store that may not compact just now says that there is more to do: no busy loop for it."""
    bench.store.compacted_revision, bench.store.has_more = 50, True
    bench.keeping.on_tick()
    assert len(compact(bench, 100, is_idle=True)) == 1 + IDLE_SLICES_MAX
    assert not bench.keeping.has_more


def test_once_all_is_gone_the_store_is_left_in_peace_until_the_next_compaction(
    bench: Bench,
) -> None:
    bench.store.compacted_revision = 50
    bench.keeping.on_tick()
    assert len(compact(bench, 5, is_idle=True)) == 1
    bench.keeping.on_tick()
    assert compact(bench, 5, is_idle=True) == []
    assert not bench.keeping.has_more
    bench.store.compacted_revision = 60
    assert bench.keeping.has_more


def test_another_state_is_compacted_anew(bench: Bench) -> None:
    bench.store.compacted_revision = 50
    bench.keeping.on_tick()
    compact(bench, 5, is_idle=True)
    bench.keeping.on_installed()
    assert bench.keeping.has_more
