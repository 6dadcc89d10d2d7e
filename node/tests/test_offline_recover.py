"""`recover` makes one member of a cluster that lost its quorum the only one, with all that its disk
has; or it changes nothing."""

import fcntl
from dataclasses import replace
from pathlib import Path

import pytest
from data_directories import (
    CLUSTER_ID,
    CONTENTS,
    ENGINES,
    LAST_INDEX,
    LEASE,
    NODE_ID,
    TERM,
    damages,
    make_directory,
    quiet,
)
from founding import founders
from recovering import AFTER_INDEX, ALL_OF_THEM, append, keys, make, run, started

from metastore.engines.contract import LogRecord
from metastore.node.identity import DataDirectoryLocked, open_data_directory, read_identity
from metastore.node.members.records import Membership, encode_edits
from metastore.node.offline.recover import open_recovery
from metastore.node.offline.recovery_plan import INDEX_MARGIN, Refused
from metastore.node.offline.restore import opened_engine
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    EntryType,
)
from metastore.node.recovery import recover
from metastore.transport.member_ops import Role

engines = pytest.mark.parametrize("engine", ENGINES)


def refused(path: Path, node_id: int = NODE_ID, **options: bool) -> str:
    with pytest.raises(Refused) as refusal:
        run(path, node_id, **options)
    assert not list(path.glob("before-recovery-*"))
    return str(refusal.value)


# --- what comes of it


@engines
def test_everything_on_the_disk_is_kept_committed_or_not(tmp_path: Path, engine: str) -> None:
    path = make(tmp_path / "data", engine)
    _, done = run(path)
    assert done.key_count == len(CONTENTS) + 1
    assert not damages(path)
    with started(path, engine) as (store, _):
        assert keys(store) == CONTENTS | {b"late": b"yes"}
        assert [(change.lease, change.ttl_s) for change in store.take_lease_changes()] == [
            (LEASE, 100)
        ]


@engines
def test_the_node_is_the_only_member_and_whoever_was_one_is_removed_for_ever(
    tmp_path: Path, engine: str
) -> None:
    path = make(tmp_path / "data", engine)
    identity = read_identity(path / "identity")
    run(path)
    assert read_identity(path / "identity") == identity
    with started(path, engine) as (_, found):
        own = replace(ALL_OF_THEM[0], directory_id=identity.directory_id)
        assert found.membership == Membership(
            ConfigurationState(voters=(1,)), (own,), removed=(2, 3, 9), index=AFTER_INDEX
        )


@engines
def test_the_log_goes_on_under_a_higher_term_and_far_beyond_what_the_others_may_have(
    tmp_path: Path, engine: str
) -> None:
    path = make(tmp_path / "data", engine)
    plan, _ = run(path)
    for _ in range(2):
        with started(path, engine) as (store, found):
            hard_state = found.mirror.initial_state()[0]
            assert (hard_state.term, hard_state.voted_for) == (TERM + 2, 0)
            assert found.last_applied == found.mirror.last_index() == AFTER_INDEX
            assert store.applied == plan.after
            assert not found.warnings


@engines
def test_the_directory_as_it_was_is_kept_aside_and_is_sound(tmp_path: Path, engine: str) -> None:
    path = make(tmp_path / "data", engine)
    _, done = run(path)
    assert done.kept.parent == path
    assert not damages(done.kept)
    with started(done.kept, engine) as (_, found):
        assert found.membership.configuration.voters == (1, 2, 3)
        assert found.mirror.last_index() == LAST_INDEX + 2
    left = {child.name for child in path.iterdir()} - {done.kept.name}
    before = make_directory(tmp_path / "other", engine)
    assert left == {child.name for child in before.iterdir()}


def test_the_plan_says_what_there_is_and_what_may_be_lost(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    with open_recovery(path, NODE_ID, quiet) as recovery:
        plan = recovery.plan
    assert (plan.last_index, plan.last_term, plan.commit_index) == (LAST_INDEX + 2, 3, LAST_INDEX)
    assert [member.node_id for member in plan.others] == [2, 3]
    said = "\n".join(plan.sentences())
    assert "voters so far: 1, 2, 3" in said
    assert f"its log goes to index {LAST_INDEX + 2} of term 3" in said
    assert f"committed for certain: up to index {LAST_INDEX}" in said
    assert "kept: the 2 entries after that" in said
    assert f"whatever 2, 3 acknowledged after index {LAST_INDEX + 2}" in said
    assert "removed for ever: 2, 3, 9" in said
    assert "are gone from this disk" not in said


def test_entries_that_this_disk_has_lost_are_told_and_never_numbered_again(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    append(path, [], commit=LAST_INDEX + 40)
    with open_recovery(path, NODE_ID, quiet) as recovery:
        said = "\n".join(recovery.plan.sentences())
        assert f"entries {LAST_INDEX + 3} to {LAST_INDEX + 40}, which were committed once" in said
        assert recovery.plan.after.index == LAST_INDEX + 40 + INDEX_MARGIN
        recovery.carry_out()
    with started(path, "memory") as (_, found):
        assert found.committed_once == found.mirror.last_index()


def test_it_may_be_done_again_when_the_quorum_is_lost_again(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    first, _ = run(path)
    voter = ConfigurationChange(
        (Change(ChangeType.ADD_VOTER, 4),), context=encode_edits(founders((4,)))
    )
    index = first.after.index + 1
    with opened_engine(path, read_identity(path / "identity")) as (_, log):
        log.recover()
        entry = LogRecord(first.after.term, index, EntryType.CONFIGURATION, voter.encode())
        log.append([entry], (first.after.term, 1, index), None)
        log.sync()
    second, _ = run(path)
    assert second.removed == (2, 3, 4, 9)
    assert len(list(path.glob("before-recovery-*"))) == 2


# --- refusals


def test_the_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    assert "directory of node 1, not of node 2" in refused(path, 2)


def test_the_only_voter_has_lost_nothing(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    assert "the only voter already" in refused(path)
    assert "the only voter already" in refused(path, is_forced=True)


def test_a_learner_is_refused_unless_forced(tmp_path: Path) -> None:
    learner = replace(ALL_OF_THEM[0], role=Role.LEARNER.value)
    path = make(tmp_path / "data", "memory", [learner, *ALL_OF_THEM[1:]])
    assert "is no voter" in refused(path)
    run(path, is_forced=True)
    with started(path, "memory") as (_, found):
        assert found.membership.configuration == ConfigurationState(voters=(1,))
        assert found.membership.members[0].role == Role.VOTER


def test_a_witness_is_refused_even_if_forced(tmp_path: Path) -> None:
    witness = replace(ALL_OF_THEM[0], role=Role.WITNESS.value)
    path = make(tmp_path / "data", "memory", [witness, *ALL_OF_THEM[1:]])
    assert "holds no data" in refused(path, is_forced=True)


def test_a_removed_member_is_refused_even_if_forced(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    change = ConfigurationChange((Change(ChangeType.REMOVE, 1),), context=encode_edits(removed=[1]))
    entry = LogRecord(TERM + 1, LAST_INDEX + 3, EntryType.CONFIGURATION, change.encode())
    append(path, [entry], commit=LAST_INDEX + 3)
    assert "was removed from the cluster" in refused(path, is_forced=True)


def test_a_node_that_never_belonged_to_a_cluster_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, "memory", joins=True)
    with opened_engine(path, directory.identity) as (store, log):
        recover(log, store, None)
    directory.close()
    assert "never been part of a cluster" in refused(path)


@pytest.mark.parametrize("mode", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_directory_in_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = make(tmp_path / "data", "memory")
    with (path / "lock").open("rb") as lock:
        fcntl.flock(lock, mode)
        with pytest.raises(DataDirectoryLocked):
            run(path)
