"""Changes, simple and joint (SPEC 6.7, 9.2; paper 6); restoring is in test_restoring.py."""

import pytest
from change_group import Group

from metastore.node.raft.changes import ChangeRefused, check_configuration
from metastore.node.raft.configuration import Configuration
from metastore.node.raft.model import RaftFailed
from metastore.node.raft.progress import Inflights, Progress

# simple changes


@pytest.mark.parametrize(
    ("before", "change", "after", "tracked", "learners"),
    [
        ("", "v1", "voters=(1)", [1], []),
        ("v1", "v2", "voters=(1 2)", [1, 2], []),
        ("v1", "l2", "voters=(1) learners=(2)", [1, 2], [2]),
        ("v1 l2", "v2", "voters=(1 2)", [1, 2], []),
        ("v1 v2", "l2", "voters=(1) learners=(2)", [1, 2], [2]),
        ("v1 v2", "r2", "voters=(1)", [1], []),
        ("v1 l2", "r2", "voters=(1)", [1], []),
        ("v1", "r5", "voters=(1)", [1], []),
        ("v1", "v1", "voters=(1)", [1], []),
        ("v1 l2", "l2", "voters=(1) learners=(2)", [1, 2], [2]),
        ("v1", "u1", "voters=(1)", [1], []),
        ("v1", "v0", "voters=(1)", [1], []),
        ("v1", "l2 l3", "voters=(1) learners=(2 3)", [1, 2, 3], [2, 3]),
        ("", "l1 v1", "voters=(1)", [1], []),
        ("v1", "v2 r2", "voters=(1)", [1], []),
    ],
)
def test_a_simple_change_alters_at_most_one_voter(
    before: str, change: str, after: str, tracked: list[int], learners: list[int]
) -> None:
    group = Group(before).simple(change)
    assert str(group) == after
    assert list(group.progress) == tracked
    assert group.learners_tracked == learners


@pytest.mark.parametrize(
    ("before", "change", "reason"),
    [
        ("v1", "v2 v3", "more than one voter changed without entering joint config"),
        ("v1 v2", "v3 r2", "more than one voter changed without entering joint config"),
        ("v1", "r1", "removed all voters"),
        ("v1 v2", "r1 r2", "removed all voters"),
        ("v1", "l1", "removed all voters"),
        ("", "l1", "removed all voters"),
    ],
)
def test_a_simple_change_is_refused_with_its_reason_and_leaves_no_trace(
    before: str, change: str, reason: str
) -> None:
    group = Group(before)
    text, tracked = str(group), {node: str(peer) for node, peer in group.progress.items()}
    with pytest.raises(ChangeRefused) as refused:
        group.simple(change)
    assert str(refused.value) == reason
    assert str(group) == text
    assert {node: str(peer) for node, peer in group.progress.items()} == tracked


@pytest.mark.parametrize(("last_index", "next_index"), [(0, 1), (1, 1), (12, 12)])
def test_a_new_peer_is_probed_at_the_last_index_and_counts_as_active(
    last_index: int, next_index: int
) -> None:
    peer = Group("v1", last_index).progress[1]
    assert str(peer) == f"StateProbe match=0 next={next_index}"
    assert peer.recently_active


def test_peers_that_stay_keep_their_progress() -> None:
    group = Group("v1 v2")
    group.progress[2].maybe_update(20)
    assert group.simple("l2").progress[2].match_index == 20
    assert group.simple("v2").progress[2].match_index == 20


# joint changes


def test_a_joint_change_keeps_the_old_voters_as_the_outgoing_half_until_it_is_left() -> None:
    group = Group("v1 v2 v3").enter("r1 v4 l5")
    assert str(group) == "voters=(2 3 4)&&(1 2 3) learners=(5)"
    assert list(group.progress) == [1, 2, 3, 4, 5]
    group.leave()
    assert str(group) == "voters=(2 3 4) learners=(5)"
    assert list(group.progress) == [2, 3, 4, 5]


def test_a_voter_demoted_in_a_joint_change_becomes_a_learner_on_leaving() -> None:
    group = Group("v1 v2").enter("l2")
    assert str(group) == "voters=(1)&&(1 2) learners_next=(2)"
    assert group.learners_tracked == []
    group.leave()
    assert str(group) == "voters=(1) learners=(2)"
    assert group.learners_tracked == [2]


@pytest.mark.parametrize(
    ("change", "entered", "left"),
    [
        ("l2 v2", "voters=(1 2)&&(1 2)", "voters=(1 2)"),
        ("l2 r2", "voters=(1)&&(1 2)", "voters=(1)"),
        ("r2 l2", "voters=(1)&&(1 2) learners_next=(2)", "voters=(1) learners=(2)"),
        ("r2 v2", "voters=(1 2)&&(1 2)", "voters=(1 2)"),
    ],
)
def test_later_operations_on_a_node_override_earlier_ones(
    change: str, entered: str, left: str
) -> None:
    group = Group("v1 v2").enter(change)
    assert str(group) == entered
    assert str(group.leave()) == left


def test_auto_leave_belongs_to_the_joint_configuration_only() -> None:
    group = Group("v1").enter("v2", auto_leave=True)
    assert str(group) == "voters=(1 2)&&(1) autoleave"
    assert str(group.leave()) == "voters=(1 2)"


def test_a_joint_configuration_may_change_nothing() -> None:
    group = Group("v1").enter("")
    assert str(group) == "voters=(1)&&(1)"
    assert str(group.leave()) == "voters=(1)"


def test_what_does_not_fit_a_joint_configuration_is_refused_with_its_reason() -> None:
    group = Group("v1").enter("v2")
    for attempt, reason in (
        (lambda: group.simple("v3"), "can't apply simple config change in joint config"),
        (lambda: group.enter("v3"), "config is already joint"),
        (lambda: Group("v1").leave(), "can't leave a non-joint config"),
        (lambda: Group().enter("v1"), "can't make a zero-voter config joint"),
        (lambda: Group("v1").enter("r1"), "removed all voters"),
    ):
        with pytest.raises(ChangeRefused) as refused:
            attempt()
        assert str(refused.value) == reason


# what fits together (checked before and after every change)


def peer(is_learner: bool = False) -> Progress:
    return Progress(Inflights(1), is_learner=is_learner)


ONE, TWO = frozenset({1}), frozenset({2})


@pytest.mark.parametrize(
    ("broken", "progress"),
    [
        (Configuration(ONE), {}),
        (Configuration(ONE, learners=ONE), {1: peer()}),
        (Configuration(ONE, learners=TWO), {1: peer(), 2: peer()}),
        (Configuration(ONE, ONE, learners_next=TWO), {1: peer(), 2: peer()}),
        (Configuration(ONE, ONE | TWO, learners_next=TWO), {1: peer(), 2: peer(True)}),
        (Configuration(ONE, learners_next=TWO), {1: peer(), 2: peer()}),
        (Configuration(ONE, auto_leave=True), {1: peer()}),
    ],
)
def test_a_configuration_that_contradicts_itself_is_a_broken_invariant(
    broken: Configuration, progress: dict[int, Progress]
) -> None:
    with pytest.raises(RaftFailed):
        check_configuration(broken, progress)
