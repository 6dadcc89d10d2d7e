"""The service Cluster: what is shown of members, what a change asks of our leader, and what etcd
would refuse. Texts and codes are those of a real etcd."""

import pytest
from members_link import CALLER, HEADER, NEW_ID, MembersLink, answer, info, play, refusal

from metastore.api.calls import ApiError, Status
from metastore.api.protocol.messages import rpc
from metastore.api.services.cluster import NODE_ID_MAX, NODE_ID_MIN, draw_node_id
from metastore.transport.auth_ops import PERMISSION_DENIED
from metastore.transport.envelope import ReadLevel
from metastore.transport.member_ops import WOULD_LOSE_QUORUM, ChangeKind, MemberInfo

NEW = "http://h9:2380"
EXISTS = (9, "etcdserver: Peer URLs already exists")
NOT_FOUND = (5, "etcdserver: member not found")
BAD_URLS = (3, "etcdserver: given member URLs are invalid")
NOT_READY = (9, "etcdserver: can only promote a learner member which is in sync with leader")
UNHEALTHY = (14, "etcdserver: unhealthy cluster")
NOT_STARTED = (
    2,
    "etcdserver: re-configuration failed due to not enough started members",
)


def three(*more: MemberInfo) -> MembersLink:
    return MembersLink([info(1), info(2), info(3), *more])


def test_members_are_shown_by_id_with_their_names_and_the_urls_of_their_gateways() -> None:
    named = info(2, name="beta", client_urls="http://h2:2379,https://h2:2380")
    reply = answer(MembersLink([named, info(1)]), "list")
    assert reply == rpc.MemberListResponse(
        header=HEADER,
        members=[
            rpc.Member(ID=1, name="node-1", peerURLs=["http://h1:1"]),
            rpc.Member(
                ID=2,
                name="beta",
                peerURLs=["http://h2:1"],
                clientURLs=["http://h2:2379", "https://h2:2380"],
            ),
        ],
    )


def test_who_has_not_come_has_neither_name_nor_client_urls() -> None:
    # Replaced, perhaps: the record still has what it told last.
    awaited = info(4, "learner", "awaited", name="delta", client_urls="http://h4:2379")
    [shown] = answer(MembersLink([awaited]), "list").members
    assert shown == rpc.Member(ID=4, peerURLs=["http://h4:1"], isLearner=True)


def test_a_voter_that_catches_up_is_no_learner_nor_is_a_witness() -> None:
    link = MembersLink([info(1, state="joining"), info(2, "witness")])
    assert [member.isLearner for member in answer(link, "list").members] == [False, False]


def test_the_list_is_linearizable_only_if_that_is_asked_for() -> None:
    link = three()
    answer(link, "list", linearizable=True)
    answer(link, "list")
    assert link.levels == [ReadLevel.LINEARIZABLE, ReadLevel.LOCAL]


def test_a_new_member_is_awaited_at_its_peer_url_and_three_ports_that_follow_from_it() -> None:
    link = three()
    reply = answer(link, "add", peerURLs=[" http://h9:2380 ", "http://h9:2381"], isLearner=True)
    new = rpc.Member(ID=NEW_ID, peerURLs=[NEW], isLearner=True)
    assert (reply.header, reply.member, len(reply.members)) == (HEADER, new, 4)
    assert reply.members[3] == new
    places = ("tcp://h9:2380", "tcp://h9:5380", "tcp://h9:8380", "tcp://h9:11380")
    assert link.changes == [(ChangeKind.ADD, NEW_ID, "learner", *places, 0)]
    assert answer(three(), "add", peerURLs=[NEW]).member.isLearner is False


def test_ids_are_above_2_to_the_53_and_fit_a_node() -> None:
    assert 1 << 53 < NODE_ID_MIN <= draw_node_id() <= NODE_ID_MAX < (1 << 64) - 3
    assert draw_node_id() != draw_node_id()


@pytest.mark.parametrize(
    "urls", [[], [""], ["h9:1"], ["tcp://h9:1"], ["http://h9"], [NEW, "x"], ["http://0.0.0.0:1"]]
)
def test_urls_that_name_no_place_are_refused_before_anything_else(urls: list[str]) -> None:
    link = three()
    link.may_admin = False
    assert refusal(link, "add", peerURLs=urls) == BAD_URLS
    assert refusal(three(), "update", ID=1, peerURLs=urls) == BAD_URLS


def test_the_place_of_a_member_is_taken() -> None:
    assert refusal(three(), "add", peerURLs=["http://h3:1"]) == EXISTS
    assert refusal(three(), "add", peerURLs=[NEW, "https://h3:1"], isLearner=True) == EXISTS
    assert refusal(three(), "update", ID=1, peerURLs=["http://h3:1"]) == EXISTS


def test_a_learner_that_has_not_come_is_not_added_again() -> None:
    url = ["http://h4:1"]
    link = three(info(4, "learner", "awaited"))
    exists = (9, "etcdserver: member ID already exist")
    assert refusal(link, "add", peerURLs=url, isLearner=True) == exists
    assert refusal(link, "add", peerURLs=url) == EXISTS
    assert refusal(three(info(4, "learner")), "add", peerURLs=url, isLearner=True) == EXISTS


def test_there_is_one_learner_at_a_time() -> None:
    too_many = (9, "etcdserver: too many learner members in cluster")
    link = three(info(4, "learner"))
    assert refusal(link, "add", peerURLs=[NEW], isLearner=True) == too_many
    assert answer(link, "add", peerURLs=[NEW]).member.ID == NEW_ID


def test_nobody_is_added_while_a_voter_is_away() -> None:
    link = three()
    link.alive = [1, 2]
    assert refusal(link, "add", peerURLs=[NEW]) == UNHEALTHY
    assert refusal(link, "add", peerURLs=[NEW], isLearner=True) == UNHEALTHY
    # Who is alive is known to the leader, which is node 2.
    assert link.asked_statuses == ["tcp://h2:3"] * 2
    away = three(info(4, "learner"))
    away.alive = [1, 2, 3]
    assert answer(away, "add", peerURLs=[NEW])


def test_no_voter_is_added_that_would_leave_too_few_started_ones() -> None:
    two = MembersLink([info(1), info(2, state="awaited")])
    assert refusal(two, "add", peerURLs=[NEW]) == NOT_STARTED
    assert refusal(two, "add", peerURLs=[NEW], isLearner=True) == UNHEALTHY
    assert answer(MembersLink([info(1)]), "add", peerURLs=[NEW])  # the second one must come


def test_a_member_is_removed() -> None:
    link = three()
    reply = answer(link, "remove", ID=2)
    assert ([member.ID for member in reply.members], reply.header) == ([1, 3], HEADER)
    assert link.changes == [(ChangeKind.REMOVE, 2)]
    assert refusal(link, "remove", ID=2) == NOT_FOUND


def test_no_voter_is_removed_that_would_leave_too_few_started_ones() -> None:
    assert refusal(MembersLink([info(1)]), "remove", ID=1) == NOT_STARTED
    alone = MembersLink([info(1), info(2, "learner")])
    assert refusal(alone, "remove", ID=1) == NOT_STARTED
    assert answer(alone, "remove", ID=2)
    waiting = MembersLink([info(1), info(2, state="awaited"), info(3, state="awaited")])
    waiting.members[4] = info(4, "learner")
    assert answer(waiting, "remove", ID=4)
    half = MembersLink([info(1), info(2), info(3, state="awaited")])
    assert refusal(half, "remove", ID=1) == NOT_STARTED
    assert answer(half, "remove", ID=3)


def test_a_learner_is_promoted() -> None:
    link = three(info(4, "learner"))
    reply = answer(link, "promote", ID=4)
    assert (reply.members[3].isLearner, reply.header) == (False, HEADER)
    assert link.changes == [(ChangeKind.PROMOTE, 4)]


def test_only_a_learner_that_is_there_is_promoted() -> None:
    link = three(info(4, "learner", "awaited"))
    assert refusal(link, "promote", ID=9) == NOT_FOUND
    assert refusal(link, "promote", ID=1) == (9, "etcdserver: can only promote a learner member")
    assert refusal(link, "promote", ID=4) == NOT_READY
    few = MembersLink([info(1), info(2, state="awaited"), info(3, state="awaited")])
    few.members[4] = info(4, "learner")
    assert refusal(few, "promote", ID=4) == NOT_STARTED


def test_a_member_moves() -> None:
    link = three()
    reply = answer(link, "update", ID=3, peerURLs=[NEW])
    assert (list(reply.members[2].peerURLs), reply.header) == ([NEW], HEADER)
    assert link.changes == [(ChangeKind.UPDATE, 3, "tcp://h9:2380", "", "", "", None)]
    assert refusal(link, "update", ID=9, peerURLs=[NEW]) == NOT_FOUND
    assert answer(link, "update", ID=3, peerURLs=[NEW])  # where it is already


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (5, "metastore: there is no such member: 3; see `member list`", NOT_FOUND),
        (9, f"{WOULD_LOSE_QUORUM}: of the voters 1, 2 only 1 answers", UNHEALTHY),
        (9, "metastore: tcp://h9:2380 is an address of node 5; give", EXISTS),
        (9, "metastore: tcp://h9:5380 is an address of node 5; give", None),
        (8, "metastore: a cluster has at most 64 members; remove one first", None),
        (14, "etcdserver: request timed out", None),
    ],
)
def test_what_our_leader_refuses_is_told_in_etcds_words_if_it_has_some(
    code: int, text: str, expected: tuple[int, str] | None
) -> None:
    link = three()
    link.refusal = ApiError(Status(code), text)
    assert refusal(link, "update", ID=3, peerURLs=[NEW]) == (expected or (code, text))
    assert refusal(link, "add", peerURLs=[NEW]) == (expected or (code, text))


def test_a_learner_that_our_leader_does_not_promote_is_not_ready() -> None:
    link = three(info(4, "learner"))
    link.refusal = ApiError(Status(9), "metastore: node 4 has not caught up with the log yet; see")
    assert refusal(link, "promote", ID=4) == NOT_READY
    link.refusal = ApiError(Status(9), f"{WOULD_LOSE_QUORUM}: of the voters")
    assert refusal(link, "promote", ID=4) == UNHEALTHY


@pytest.mark.parametrize("method", ["add", "remove", "update", "promote"])
def test_changes_are_an_administrators_and_the_list_is_anybodys(method: str) -> None:
    link = three(info(4, "learner"))
    link.may_admin = False
    fields = {"ID": 4} if method in ("remove", "promote") else {"peerURLs": [NEW]}
    fields |= {"ID": 4} if method == "update" else {}
    assert refusal(link, method, **fields) == (7, PERMISSION_DENIED)
    assert not link.levels
    request = rpc.MemberListRequest()
    assert play(link, lambda service: service.member_list(request, CALLER)).members
