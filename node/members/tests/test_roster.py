"""Where a node dials, whom it lets in and what it shows, from the record, the settings and what it
was told."""

from dataclasses import replace

from metastore.node.members.records import MemberRecord, Membership, first_membership
from metastore.node.members.roster import Roster, own_record
from metastore.node.raft.model import ConfigurationState
from metastore.node.settings_sources import load
from metastore.transport.member_ops import MemberInfo


def record(node_id: int, role: str = "voter", place: str = "here") -> MemberRecord:
    addresses = [f"tcp://{place}:{node_id}{socket}" for socket in range(4)]
    return MemberRecord(node_id, role, *addresses)


THREE = first_membership([record(1), record(2), record(3)], index=1)


def test_a_member_is_dialled_where_the_record_says_and_then_where_the_settings_say() -> None:
    roster = Roster(1, THREE, [record(2, place="moved"), record(3)], dial={})
    assert roster.peer_addresses() == {
        2: ["tcp://here:20", "tcp://moved:20"],
        3: ["tcp://here:30"],
    }


def test_a_pinned_member_is_dialled_nowhere_else() -> None:
    roster = Roster(1, THREE, [record(2, place="moved")], dial={2: "tcp://tunnel:1"})
    assert roster.peer_addresses()[2] == ["tcp://tunnel:1"]


def test_the_settings_make_nobody_a_member() -> None:
    roster = Roster(1, THREE, [record(4)], dial={5: "tcp://tunnel:1"})
    assert set(roster.peer_addresses()) == set(roster.directories()) == {2, 3}


def test_an_awaited_member_is_neither_dialled_nor_let_in() -> None:
    awaited = replace(THREE, configuration=ConfigurationState(voters=(1, 2)))
    roster = Roster(1, awaited, [], dial={})
    assert set(roster.peer_addresses()) == set(roster.directories()) == {2}


def test_each_member_must_have_the_directory_of_its_record() -> None:
    membership = THREE.changed(
        THREE.configuration, put=[replace(record(2), directory_id=77)], index=5
    )
    assert Roster(1, membership, [], dial={}).directories() == {2: 77, 3: 0}


def test_without_a_record_a_node_goes_by_what_it_was_told() -> None:
    roster = Roster(4, Membership(), [], dial={})
    assert roster.peer_addresses() == {}
    told = first_membership([record(1), record(2)], index=1).infos()
    own = MemberInfo(4, "voter", "joining", *record(4).addresses, 9, 0)
    awaited = MemberInfo(5, "voter", "awaited", *record(5).addresses, 0, 0)
    roster.told, roster.told_index = [*told, own, awaited], 1
    assert set(roster.peer_addresses()) == {1, 2}
    roster.membership = THREE
    assert set(roster.peer_addresses()) == {1, 2, 3}


def test_an_old_record_gives_way_to_what_the_leader_told() -> None:
    """A member that came, or whose disk was replaced, while this node was away may lead by now."""
    roster = Roster(1, THREE, [], dial={})
    replaced = replace(record(3), directory_id=33)
    newer = THREE.changed(
        ConfigurationState(voters=(1, 2, 3, 4)), put=[replaced, record(4)], index=9
    )
    roster.told, roster.told_index = newer.infos(), 9
    assert set(roster.peer_addresses()) == {2, 3, 4}
    assert roster.directories()[3] == 33
    roster.membership = newer.changed(newer.configuration, put=[record(3)], index=10)
    assert roster.directories()[3] == 0


def test_clients_are_shown_no_address_of_a_witness() -> None:
    roster = Roster(1, first_membership([record(1), record(2, "witness")], 1), [], dial={})
    assert roster.shown_to_clients() == [
        (1, "tcp://here:11", "tcp://here:12"),
        (2, "", "tcp://here:22"),
    ]
    assert roster.witness_ids == {2}
    assert not roster.is_witness


def test_a_node_asks_the_cluster_at_the_others_addresses() -> None:
    roster = Roster(1, THREE, [record(1), record(2, place="moved")], dial={})
    assert roster.client_addresses() == ["tcp://here:21", "tcp://here:31", "tcp://moved:21"]


def test_a_node_tells_of_itself_what_its_settings_say_and_where_it_is_bound() -> None:
    named = ["--name", "alpha", "--etcd-advertise", "http://h:1,https://h:2"]
    settings = load(["--node-id", "4", "--data-dir", "d", "--role", "voter", *named], {})
    own = own_record(settings, ("tcp://d:1", "tcp://d:2", "tcp://d:3", "tcp://d:4"), 99)
    assert own == MemberRecord(
        *(4, "voter", "tcp://d:1", "tcp://d:2", "tcp://d:3", "tcp://d:4", 99, 0),
        *("alpha", "http://h:1,https://h:2"),
    )
