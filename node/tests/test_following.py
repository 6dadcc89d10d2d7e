"""The sockets follow the record: who is dialled, let in and shown is who the record names."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from metastore.node.following import Following
from metastore.node.members.records import MemberRecord, first_membership
from metastore.node.members.roster import Roster
from metastore.transport.member_ops import MemberInfo


class Recorded:
    """Peers and receiver, outbox and snapshots: all that is told of the members."""

    def __init__(self) -> None:
        self.dialled: Mapping[int, Sequence[str]] = {}
        self.let_in: list[tuple[Mapping[int, int], Collection[int]]] = []
        self.witnesses: list[frozenset[int]] = []
        self.shown: list[Sequence[MemberInfo]] = []

    @property
    def peers(self) -> "Recorded":
        return self

    @property
    def receiver(self) -> "Recorded":
        return self

    def set_members(self, *told: Any) -> None:
        *addresses, directories, removed = told
        if addresses:
            (self.dialled,) = addresses
        self.let_in.append((directories, removed))

    def set_witnesses(self, node_ids: frozenset[int]) -> None:
        self.witnesses.append(node_ids)

    def show(self, members: Sequence[MemberInfo]) -> None:
        self.shown.append(members)


def record(node_id: int, role: str = "voter", directory_id: int = 0) -> MemberRecord:
    places = [f"tcp://h{node_id}:{place}" for place in range(1, 5)]
    peer, client, status, snapshot = places
    return MemberRecord(node_id, role, peer, client, status, snapshot, directory_id)


def following(own_id: int, recorded: Any) -> Following:
    roster = Roster(own_id, first_membership([], 0), (), {})
    return Following(roster, recorded, recorded, recorded, recorded.show)


MEMBERS = first_membership([record(1), record(2, directory_id=77), record(3, "witness")], 1)


def test_a_record_is_followed_by_every_socket_and_by_the_status() -> None:
    told = Recorded()
    following(1, told).follow(MEMBERS)
    assert told.dialled == {2: ["tcp://h2:1"], 3: ["tcp://h3:1"]}
    # The sockets of peers and of snapshots alike: neither may let in whom the other refuses.
    assert told.let_in == [({2: 77, 3: 0}, frozenset())] * 2
    assert told.witnesses == [{3}, {3}]
    assert told.shown == [MEMBERS.infos()]


def test_whoever_is_removed_is_dialled_and_let_in_no_more_and_never_again() -> None:
    told = Recorded()
    follower = following(1, told)
    follower.follow(MEMBERS)
    without = first_membership([record(1), record(2, directory_id=77)], 1)
    follower.follow(without.changed(without.configuration, removed=[3], index=9))
    assert set(told.dialled) == {2}
    assert told.let_in[-2:] == [({2: 77}, {3})] * 2
    assert told.witnesses[-1] == frozenset()


def test_what_the_cluster_said_at_registration_is_followed_until_the_record_is_as_new() -> None:
    told = Recorded()
    joiner = following(4, told)
    joiner.hear(MEMBERS.infos(), 1)
    assert set(told.dialled) == {1, 2, 3}
    assert told.let_in == [({1: 0, 2: 77, 3: 0}, frozenset())] * 2
    assert told.shown == [], "the status tells of the record"
    later = first_membership([record(1), record(4)], 12)
    joiner.follow(later)
    assert set(told.dialled) == {1}
