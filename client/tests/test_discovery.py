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
