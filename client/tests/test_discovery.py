"""The picture of the cluster, without sockets."""

import pytest

from metastore.client.discovery import PAUSE_S_MAX, REDIRECTS_MAX, Discovery, Pause
from metastore.client.errors import WrongCluster
from metastore.transport.envelope import MemberAddresses

MEMBERS = [MemberAddresses(node, f"tcp://n{node}:1", f"tcp://n{node}:2") for node in (1, 2, 3)]


def picture(*, leader_id: int = 1, is_pinned: bool = False) -> Discovery:
    discovery = Discovery(["tcp://alias:1"], is_pinned)
    discovery.on_welcome("tcp://alias:1", 5, 1, leader_id, MEMBERS)
    return discovery


def test_an_endpoint_that_worked_is_preferred_to_the_advertised_address() -> None:
    discovery = picture(leader_id=1)
    assert discovery.leader_endpoint_or_none() == "tcp://alias:1"
    assert discovery.endpoints() == ("tcp://alias:1", "tcp://n2:1", "tcp://n3:1")


def test_a_hint_is_followed_and_the_rest_of_its_burst_ignored() -> None:
    discovery = picture(leader_id=1)
    discovery.on_redirect("tcp://alias:1", 2, now=1.0)
    discovery.on_redirect("tcp://alias:1", 3, now=1.0)
    assert discovery.leader_endpoint_or_none() == "tcp://n2:1"


def test_nodes_that_point_at_each_other_are_not_followed_in_circles() -> None:
    discovery = picture(leader_id=2)
    discovery.on_welcome("tcp://n2:1", 5, 2, 2, MEMBERS)
    discovery.on_welcome("tcp://n3:1", 5, 3, 2, MEMBERS)
    for turn in range(REDIRECTS_MAX + 1):
        here, there = ("tcp://n2:1", 3) if turn % 2 == 0 else ("tcp://n3:1", 2)
        assert discovery.pause.until == 0.0
        discovery.on_redirect(here, there, now=1.0)
    assert discovery.leader_id == 0
    assert discovery.pause.until > 1.0


def test_only_the_leader_itself_displaces_a_known_leader() -> None:
    discovery = picture(leader_id=1)
    discovery.on_welcome("tcp://n2:1", 5, 2, 3, MEMBERS)
    assert discovery.leader_id == 1
    discovery.on_welcome("tcp://n3:1", 5, 3, 3, MEMBERS)
    assert discovery.leader_id == 3


def test_a_leader_that_cannot_be_reached_is_forgotten_and_paused() -> None:
    discovery = picture(leader_id=2)
    discovery.on_lost("tcp://n2:1", "connection refused", now=1.0)
    assert discovery.leader_id == 0
    assert not discovery.may_connect("tcp://n2:1", now=1.0)
    assert discovery.may_connect("tcp://n2:1", now=1.0 + PAUSE_S_MAX)


def test_a_node_of_another_cluster_is_refused() -> None:
    with pytest.raises(WrongCluster):
        picture().on_welcome("tcp://n2:1", 6, 2, 2, MEMBERS)


def test_a_pinned_client_stays_with_what_it_was_given() -> None:
    discovery = picture(leader_id=2, is_pinned=True)
    assert discovery.endpoints() == ("tcp://alias:1",)
    assert discovery.leader_endpoint_or_none() is None


def test_a_burst_of_failures_pauses_once_and_pauses_have_a_limit() -> None:
    pause = Pause()
    pause.extend(1.0)
    first = pause.until
    pause.extend(1.0)
    assert pause.until == first
    now = 1.0
    for _ in range(20):
        now = pause.until
        pause.extend(now)
    assert pause.until - now == PAUSE_S_MAX


def member(node_id: int, place: str) -> MemberAddresses:
    return MemberAddresses(node_id, place, "")


def test_a_witness_is_no_endpoint_and_serves_nothing_where_the_user_named_it() -> None:
    discovery = Discovery(["tcp://witness:1", "tcp://n1:1"], is_pinned=False)
    members = [member(1, "tcp://n1:1"), member(2, "tcp://n2:1"), member(3, ""), member(4, "")]
    discovery.on_welcome("tcp://witness:1", 5, 3, 4, members)
    assert discovery.endpoints() == ("tcp://witness:1", "tcp://n1:1", "tcp://n2:1")
    assert discovery.leader_endpoint_or_none() is None
    assert not discovery.holds_data("tcp://witness:1")
    discovery.on_welcome("tcp://n1:1", 5, 1, 1, members)
    assert not discovery.holds_data("tcp://witness:1")  # named by the user, so not forgotten
    assert discovery.holds_data("tcp://n2:1")  # nobody has answered there: it is worth a try
    pinned = Discovery(["tcp://witness:1"], is_pinned=True)
    pinned.on_welcome("tcp://witness:1", 5, 3, 1, members)
    assert pinned.holds_data("tcp://witness:1")  # it shall say itself that it serves nothing


def test_a_node_that_lags_behind_brings_no_removed_member_back() -> None:
    discovery = picture(leader_id=1)
    now = [member(1, "tcp://n1:1"), member(3, "tcp://moved:1")]
    discovery.on_welcome("tcp://alias:1", 5, 1, 1, now)
    discovery.on_welcome("tcp://n3:1", 5, 3, 1, MEMBERS)
    assert list(discovery.members.values()) == now
    discovery.on_lost("tcp://alias:1", "connection refused", now=1.0)
    discovery.on_welcome("tcp://n3:1", 5, 3, 0, MEMBERS)
    assert list(discovery.members.values()) == MEMBERS  # better than nothing


def test_the_word_of_a_follower_counts_until_the_leader_itself_has_spoken() -> None:
    discovery = picture(leader_id=2)
    now = [member(1, "tcp://n1:1"), member(2, "tcp://moved:1")]
    discovery.on_welcome("tcp://alias:1", 5, 1, 2, now)
    assert discovery.leader_endpoint_or_none() == "tcp://moved:1"


def test_a_removed_member_is_forgotten_unless_the_user_named_it() -> None:
    discovery = picture(leader_id=2)
    discovery.on_welcome("tcp://n3:1", 5, 3, 2, MEMBERS)
    discovery.on_lost("tcp://n1:1", "connection refused", now=1.0)
    assert not discovery.may_connect("tcp://n1:1", now=1.0)
    left = [member(2, "tcp://outside:1")]
    discovery.on_welcome("tcp://n2:1", 5, 2, 2, left)
    # Where the leader itself was reached goes on being good, though it calls its place otherwise.
    assert discovery.leader_endpoint_or_none() == "tcp://n2:1"
    assert discovery.endpoints() == ("tcp://alias:1", "tcp://outside:1", "tcp://n2:1")
    assert discovery.may_connect("tcp://n1:1", now=1.0)  # nothing of it is kept


def test_a_node_that_has_left_a_place_is_looked_for_at_its_new_one() -> None:
    discovery = picture(leader_id=1)
    discovery.on_lost("tcp://alias:1", "connection refused", now=1.0)
    moved = [member(1, "tcp://moved:1"), *MEMBERS[1:]]
    discovery.on_welcome("tcp://n2:1", 5, 2, 1, moved)
    assert "tcp://moved:1" in discovery.endpoints()
    assert discovery.leader_endpoint_or_none() == "tcp://moved:1"


def test_a_node_that_answers_is_asked_though_another_knows_it_elsewhere() -> None:
    discovery = Discovery(["tcp://n1:1"], is_pinned=False)
    discovery.on_welcome("tcp://n1:1", 5, 1, 0, [member(2, "tcp://moved:1"), *MEMBERS[2:]])
    discovery.on_welcome("tcp://moved:1", 5, 2, 0, [member(2, "tcp://moved:1"), *MEMBERS[2:]])
    discovery.on_welcome("tcp://n3:1", 5, 3, 0, MEMBERS)
    assert "tcp://moved:1" in discovery.endpoints()


def test_a_refusal_is_not_hidden_by_a_node_that_is_merely_down() -> None:
    discovery = picture()
    discovery.on_lost("tcp://n2:1", "it refused our key", now=1.0, is_refusal=True)
    discovery.on_lost("tcp://n3:1", "connection refused", now=1.0)
    assert discovery.reason == "tcp://n2:1: it refused our key"
    discovery.on_lost("tcp://n2:1", "connection refused", now=2.0)
    assert discovery.reason == "tcp://n2:1: connection refused"


def test_who_let_us_in_hides_nothing_any_more() -> None:
    discovery = picture()
    discovery.on_lost("tcp://n2:1", "it refused our key", now=1.0, is_refusal=True)
    discovery.on_reached("tcp://n2:1")
    discovery.on_lost("tcp://n3:1", "connection refused", now=1.0)
    assert discovery.reason == "tcp://n3:1: connection refused"


def test_another_key_is_tried_without_a_pause() -> None:
    discovery = picture()
    discovery.on_lost("tcp://n2:1", "another key", now=1.0, is_refusal=True, pauses=False)
    assert discovery.may_connect("tcp://n2:1", now=1.0)
