"""`restore` founds a cluster of the members that are named, and of nobody removed before."""

from dataclasses import replace
from pathlib import Path

import pytest
from data_directories import make_backup, quiet
from founding import founded_by, founders

from metastore.engines.files import Files
from metastore.engines.snapshot_format import SnapshotReader, write_snapshot
from metastore.node.identity import open_data_directory
from metastore.node.members.records import MemberRecord, Membership, first_membership
from metastore.node.offline.restore import (
    BUMP_REVISION,
    Refused,
    new_identity,
    opened_engine,
    restore,
)
from metastore.node.offline.verify import Verdict, verify_directory
from metastore.node.raft.model import ConfigurationState
from metastore.node.recovery import recover
from metastore.transport.member_ops import Role

NEW_CLUSTER = 99
HOST = "tcp://127.0.0.1:"
MEMBERS = (
    MemberRecord(1, Role.VOTER.value, HOST + "1", HOST + "2", HOST + "3", HOST + "4"),
    MemberRecord(2, Role.WITNESS.value, "", "", "", ""),
    MemberRecord(3, Role.LEARNER.value, "", "", "", ""),
)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    made: Path = make_backup(tmp_path / "backup", tmp_path / "old")
    return made


def with_members(backup: Path, target: Path, membership: Membership) -> Path:
    """The same backup of a cluster with that record."""
    with SnapshotReader(backup, Files()) as reader:
        meta = replace(reader.header.meta, configuration=membership.encode())
        header = replace(reader.header, meta=meta)
        versions, order, facts = (list(reader.versions()), list(reader.order()), reader.facts())
        write_snapshot(target, Files(), header, versions, order, facts)
    return target


def restored(path: Path) -> Membership:
    """As the first start finds it, whatever its settings say."""
    directory = open_data_directory(path, NEW_CLUSTER, 1, "memory")
    with opened_engine(path, directory.identity) as (store, log):
        membership = recover(log, store, founders((1, 7))).membership
    directory.close()
    return membership


def test_the_new_cluster_has_the_members_that_were_given_and_their_roles(
    backup: Path, tmp_path: Path
) -> None:
    made = restore(backup, tmp_path / "new", new_identity(NEW_CLUSTER, 1, "memory"), MEMBERS, quiet)
    membership = restored(tmp_path / "new")
    assert membership == first_membership(MEMBERS, made.meta.index)
    assert membership.configuration == ConfigurationState(voters=(1, 2), learners=(3,))


def test_who_was_removed_before_the_backup_stays_removed_through_any_number_of_restores(
    backup: Path, tmp_path: Path
) -> None:
    """E5."""
    old = replace(founded_by(1, 2), removed=(3, 9))
    for number in (1, 2):
        used = with_members(backup, tmp_path / f"used{number}", old)
        path = tmp_path / f"new{number}"
        restore(used, path, new_identity(NEW_CLUSTER, 1, "memory"), MEMBERS[:2], quiet)
        old = restored(path)
        assert old.removed == (3, 9)


def test_a_removed_id_is_refused_to_a_member_of_the_new_cluster(
    backup: Path, tmp_path: Path
) -> None:
    old = replace(founded_by(1, 2), removed=(3,))
    used = with_members(backup, tmp_path / "used", old)
    with pytest.raises(Refused, match=r"node 3 was removed .* use another id"):
        restore(used, tmp_path / "new", new_identity(NEW_CLUSTER, 1, "memory"), MEMBERS, quiet)
    assert not (tmp_path / "new").exists()


def test_who_was_on_its_way_out_does_not_come_back_either(backup: Path, tmp_path: Path) -> None:
    used = with_members(backup, tmp_path / "used", replace(founded_by(1, 2, 9), leaving=(9,)))
    restore(used, tmp_path / "new", new_identity(NEW_CLUSTER, 1, "memory"), MEMBERS[:2], quiet)
    assert restored(tmp_path / "new").removed == (9,)


def test_a_witness_of_the_new_cluster_gets_no_data(backup: Path, tmp_path: Path) -> None:
    path, identity = tmp_path / "new", new_identity(NEW_CLUSTER, 2, "memory")
    made = restore(backup, path, identity, MEMBERS, quiet)
    assert made.key_count == 0
    assert made.revision > BUMP_REVISION, "as on all other members"
    files = [file for file in path.rglob("*") if file.is_file()]
    assert not any(b"leased" in file.read_bytes() for file in files)
    assert not [f for f in verify_directory(path, quiet) if f.verdict is not Verdict.SOUND]


def test_a_node_that_is_no_member_is_refused(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"node 4 is none of the members \(1, 2, 3\)"):
        restore(backup, tmp_path / "new", new_identity(NEW_CLUSTER, 4, "memory"), MEMBERS, quiet)
    assert not (tmp_path / "new").exists()
