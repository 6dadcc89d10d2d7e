"""Members as the client asks for them and changes them: what is sent, repeated, returned."""

import asyncio
from typing import Any

import pytest

from metastore.client import Client, InvalidRequest, Member, OutcomeUnknown, Unavailable, aio
from metastore.client import members as m
from metastore.client.errors import PermissionDenied, WrongVersion
from metastore.client.member_calls import CHANGE_S_MIN, change_limit
from metastore.transport.member_ops import (
    CHANGES_MAX,
    MEMBER_CHANGE,
    MEMBERS,
    MOVE_LEADER,
    NO_SUCH_MEMBER,
    ChangeKind,
    MemberInfo,
)
from metastore.transport.schema import Code

PLACES: dict[str, Any] = {
    "peer": "tcp://h4:1",
    "client": "tcp://h4:2",
    "status": "tcp://h4:3",
    "snapshot": "tcp://h4:4",
}


def client_of(node: Any, **options: Any) -> Client:
    return Client(node.client_address, **options)


def changes_of(cluster: Any) -> list[Any]:
    """(changes, is_forced) of every change that was carried out."""
    return [operation[1:] for operation in cluster.applied if operation[0] == MEMBER_CHANGE]


def test_the_list_is_the_leaders_and_says_who_leads(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    leading = MemberInfo(
        2, "voter", "member", "p", "c", "s", "n", 77, 5, "b", "http://b:1,https://b:2"
    )
    awaited = MemberInfo(1, "witness", "awaited", "q", "d", "t", "o", 0, 0)
    cluster.infos = [leading, awaited]
    with client_of(cluster[1]) as client:
        assert client.members() == (
            Member(*awaited[:-2], "", (), is_leader=False),
            Member(*leading[:-2], "b", ("http://b:1", "https://b:2"), is_leader=True),
        )
        assert client.cluster_id == cluster.cluster_id
        cluster[1].requests.clear()
        assert client.members(level="local")[1].is_leader
    assert [level for level, _ in cluster[1].requests] == [2]


def test_members_need_a_leader_but_known_nodes_need_none(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=0)
    with client_of(cluster[1]) as client:
        with pytest.raises(Unavailable):
            client.members(timeout_s=0.2)
        known = client.known_nodes()
    assert [(node.node_id, node.client) for node in known] == [
        (node.node_id, node.client_address) for node in cluster.nodes
    ]


def test_every_change_is_sent_as_the_protocol_has_it(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        after = client.member_add(4, **PLACES, role="witness", priority=3)
        client.member_promote(4)
        client.member_remove(4, 5, force=True)
        client.member_update(4, client="tcp://moved:2", priority=0)
        client.member_update(4, peer="tcp://moved:1")
        client.member_change([m.remove(1), m.add(4, **PLACES)])
        assert after == client.members()
    nothing = ["", "", ""]
    assert [
        ([list(change) for change in some], forced) for some, forced in changes_of(cluster)
    ] == [
        ([[ChangeKind.ADD, 4, "witness", *PLACES.values(), 3]], False),
        ([[ChangeKind.PROMOTE, 4]], False),
        ([[ChangeKind.REMOVE, 4], [ChangeKind.REMOVE, 5]], True),
        ([[ChangeKind.UPDATE, 4, "", "tcp://moved:2", "", "", 0]], False),
        ([[ChangeKind.UPDATE, 4, "tcp://moved:1", *nothing, None]], False),
        ([[ChangeKind.REMOVE, 1], [ChangeKind.ADD, 4, "voter", *PLACES.values(), 0]], False),
    ]
    assert cluster.leader.headers == []  # no session: the leader itself carries them out


def test_a_replacement_names_the_directory_that_is_gone(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.member_replace(1)
        with pytest.raises(InvalidRequest, match=f"{NO_SUCH_MEMBER}: 9") as caught:
            client.member_replace(9)
    assert caught.value.code == Code.NOT_FOUND
    assert changes_of(cluster) == [(((ChangeKind.REPLACE, 1, 501),), False)]


def test_the_leadership_moves_to_whom_it_is_said_or_to_another(make_cluster: Any) -> None:
    cluster = make_cluster(3, leader_id=1)
    with client_of(cluster[1]) as client:
        assert client.move_leader(3) == 3
        assert client.move_leader() == 1


def test_a_change_is_sent_again_until_it_is_answered(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)
    cluster[1].script.extend(["unavailable", "not_leader", "serve_and_hang_up", "outcome_unknown"])
    with client_of(cluster[1]) as client:
        client.member_promote(2)
    assert len(cluster[1].requests) == 5
    assert len(changes_of(cluster)) == 2  # the leader answers the second time as the first


def test_a_named_move_is_sent_again_but_one_to_anybody_is_not(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)
    cluster[1].script.extend(["hang_up", "serve", "not_leader", "serve_and_hang_up"])
    with client_of(cluster[1]) as client:
        assert client.move_leader(1) == 1
        # Twice could be there and back again.
        with pytest.raises(OutcomeUnknown, match="went away before the answer; the members or the"):
            client.move_leader()
    assert [op for op in cluster.applied if op[0] == MOVE_LEADER] == [(50, 1), (50, 0)]
    assert cluster[1].headers == []


def test_a_change_without_an_answer_may_have_been_made(cluster: Any) -> None:
    cluster.leader.default_act = "ignore"
    with client_of(cluster.leader) as client:
        with pytest.raises(OutcomeUnknown, match="look at the list of the members"):
            client.member_remove(2, timeout_s=0.2)
        with pytest.raises(Unavailable):
            client.members(timeout_s=0.2)


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.FAILED_PRECONDITION])
def test_what_the_leader_refuses_comes_with_its_words(cluster: Any, code: Code) -> None:
    cluster.answers[MEMBER_CHANGE] = [int(code), "metastore: only 1 answers"]
    with client_of(cluster.leader) as client:
        with pytest.raises(InvalidRequest, match="only 1 answers") as caught:
            client.member_remove(2)
        assert caught.value.code == code
    assert len(cluster.leader.requests) == 1


def test_what_is_not_permitted_is_refused_at_once(cluster: Any) -> None:
    cluster.leader.default_act = "permission_denied"
    with client_of(cluster.leader) as client:
        for call in (client.members, lambda: client.put("a", "1"), lambda: client.move_leader(1)):
            with pytest.raises(PermissionDenied, match="so it says") as caught:
                call()
            assert caught.value.code == 7
    assert len(cluster.leader.requests) == 3


GOOD = (1, "voter", "member", "a", "b", "c", "d", 5, 0)


@pytest.mark.parametrize(
    "answer",
    [
        [0],
        [0, 1, 77, 3],
        [0, 1, 77, 3, None],
        [0, "1", 77, []],
        [0, 1, 77, 3, [GOOD[:-1]]],
        [0, 1, 77, 3, [(*GOOD, 0)]],
        [0, 1, 77, 3, [("1", *GOOD[1:])]],
        [0, 1, 77, 3, [(1, "king", *GOOD[2:])]],
        [0, 1, 77, 3, [(1, "voter", "lost", *GOOD[3:])]],
        [0, 1, 77, 3, [7]],
    ],
)
def test_a_list_in_another_shape_is_refused(cluster: Any, answer: Any) -> None:
    cluster.answers[MEMBERS] = answer
    with client_of(cluster.leader) as client, pytest.raises(WrongVersion, match="cannot be read"):
        client.members()


def test_a_new_leader_in_another_shape_is_refused(cluster: Any) -> None:
    cluster.answers[MOVE_LEADER] = [0, "2"]
    with client_of(cluster.leader) as client, pytest.raises(WrongVersion, match="cannot be read"):
        client.move_leader()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: m.remove(0), "0 is no node id"),
        (lambda: m.promote(1 << 64), "is no node id"),
        (lambda: m.add(4, **PLACES, role="king"), "'king' is none of voter, learner, witness"),
        (lambda: m.add(4, **PLACES, priority=1001), "1001 is no priority; give 0 to 1000"),
        (lambda: m.add(4, **PLACES | {"peer": "h4:1"}), "must look like tcp://host:port"),
        (lambda: m.add(4, **PLACES | {"status": "tcp://*:1"}), "not a wildcard"),
        (lambda: m.update(4), "nothing is to be updated"),
        (lambda: m.update(4, client=""), "must look like tcp://host:port"),
        (lambda: m.replace(4, -1), "-1 is no number of a data directory"),
        (lambda: m.change_of([], force=False), "0 changes at once"),
        (lambda: m.change_of([m.remove(1)] * (CHANGES_MAX + 1), force=False), "17 changes at once"),
        (lambda: m.move_of(-1), "-1 is no node id"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_not_sent(make: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words.replace("*", r"\*")):
        make()


def test_a_change_has_time_for_an_election_unless_told_otherwise() -> None:
    assert change_limit(5.0, None) == CHANGE_S_MIN
    assert change_limit(60.0, None) == 60.0
    assert change_limit(60.0, 0.5) == 0.5


def test_a_change_outlives_the_limit_of_ordinary_calls(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []
    with client_of(cluster.leader, timeout_s=2.0) as client:
        perform = client._perform

        def noted(operations: Any, timeout_s: float | None, *rest: Any) -> Any:
            limits.append(timeout_s)
            return perform(operations, timeout_s, *rest)

        monkeypatch.setattr(client, "_perform", noted)
        client.member_promote(2)
        client.members()
        client.move_leader(timeout_s=3.0)
    assert limits == [CHANGE_S_MIN, None, 3.0]


def test_the_same_calls_for_asyncio(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)

    async def body() -> None:
        async with aio.Client(cluster[1].client_address) as client:
            assert [found.node_id for found in await client.members()] == [1, 2]
            assert client.cluster_id == cluster.cluster_id
            await client.member_add(4, **PLACES)
            await client.member_promote(4)
            await client.member_remove(4, 5, force=True)
            await client.member_update(4, priority=9)
            await client.member_replace(2)
            await client.member_change([m.remove(1)])
            with pytest.raises(InvalidRequest, match=NO_SUCH_MEMBER):
                await client.member_replace(9)
            assert await client.move_leader(2) == 2
            assert await client.move_leader() == 1

    asyncio.run(body())
    kinds = [some[0][0] for some, _ in changes_of(cluster)]
    assert kinds == [
        ChangeKind.ADD,
        ChangeKind.PROMOTE,
        ChangeKind.REMOVE,
        ChangeKind.UPDATE,
        ChangeKind.REPLACE,
        ChangeKind.REMOVE,
    ]
    assert changes_of(cluster)[4] == (((ChangeKind.REPLACE, 2, 502),), False)
    assert [forced for _, forced in changes_of(cluster)] == [False, False, True, *[False] * 3]
