"""Start from disk with a store that is durable by itself, as a database is: what it has applied is
settled with the log, or refused."""

from pathlib import Path

import pytest
from founding import founders, record_of, snapshot_of
from restarts import FOUNDED, THREE, Disk, entries, entry, indexes

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.raft.model import ConfigurationState
from metastore.node.recovery import Recovered, recover, to_meta


class DurableStore(MemoryStore):
    """Kept over restarts as it is, as a database is; has no snapshot unless told."""

    def latest_snapshot(self) -> SnapshotMeta | None:
        return None


class DurableDisk(Disk):
    """The store outlives the crash, with everything that was applied."""

    def start(self) -> Recovered:
        if not hasattr(self, "store"):
            self.store = DurableStore(self.snapshots, node_id=1)
        self.log = WriteAheadLog(self.wal)
        return recover(self.log, self.store, founders([3, 1, 2]))

    def crash(self) -> None:
        self.log.close()


@pytest.fixture
def durable(tmp_path: Path) -> DurableDisk:
    return DurableDisk(tmp_path)


def test_what_a_durable_store_has_applied_is_not_applied_again(durable: DurableDisk) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 0, 2))
    durable.store.apply(entries(2, 4))
    durable.crash()
    found = durable.start()
    assert (found.last_applied, indexes(found)) == (4, [2, 3, 4, 5, 6])
    hard_state, _ = found.mirror.initial_state()
    assert hard_state.commit_index == 4, "what was applied is committed"


def test_the_members_are_those_as_of_what_a_durable_store_has_applied(
    durable: DurableDisk,
) -> None:
    """A change between the log's beginning and last_applied is never applied again."""
    durable.start()
    durable.write(entries(2, 3), (1, 0, 3))
    changed = ConfigurationState(voters=(1, 2, 3, 4))
    durable.store.skip(2, 1, record_of(changed, 2).encode())
    durable.store.apply([entry(3)])
    durable.crash()
    found = durable.start()
    assert found.mirror.initial_state()[1] == found.membership.configuration == changed
    assert found.mirror.newest.configuration == THREE


def test_a_state_that_the_log_does_not_lead_to_was_installed_and_begins_the_log(
    durable: DurableDisk,
) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 2, 3))
    durable.store.apply(entries(2, 4, term=2))
    for _ in range(2):  # the log itself learns it
        durable.crash()
        found = durable.start()
        assert (found.mirror.newest.index, found.mirror.newest.term) == (4, 2)
        assert (indexes(found), found.mirror.last_index()) == ([], 4)


def test_a_log_that_ends_before_the_installed_state_goes_on_behind_it(
    durable: DurableDisk,
) -> None:
    durable.start()
    durable.write(entries(2, 3), (1, 2, 3))
    durable.store.apply(entries(2, 9))
    durable.crash()
    found = durable.start()
    assert (indexes(found), found.mirror.last_index(), found.last_applied) == ([], 9, 9)
    durable.write([entry(10)])
    durable.crash()
    assert indexes(durable.start()) == [10]


def test_a_crash_between_the_first_marker_and_the_store_is_made_good(durable: DurableDisk) -> None:
    first = durable.start()
    durable.crash()
    durable.store = DurableStore(durable.snapshots / "empty", node_id=1)
    found = durable.start()
    assert (found.last_applied, found.membership) == (1, first.membership)
    assert durable.store.applied == to_meta(snapshot_of(1, 1, FOUNDED))


def test_a_store_that_is_behind_the_beginning_of_the_log_is_refused(durable: DurableDisk) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 0, 6))
    durable.log.append((), None, to_meta(snapshot_of(4, 1, FOUNDED)))
    durable.store.apply(entries(2, 3))
    durable.crash()
    with pytest.raises(StorageDamaged, match="a snapshot file is missing"):
        durable.start()
