"""Configurations and the tracker of votes and progress (PAPER_TESTS D9; SPEC 4.7, 6.1, 6.4)."""

import pytest

from metastore.node.raft.configuration import Configuration, Tracker, is_same_state
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Transition,
)
from metastore.node.raft.progress import Inflights, Progress
from metastore.node.raft.quorum import INFINITE_INDEX, VoteResult


def configuration(
    voters: tuple[int, ...],
    outgoing: tuple[int, ...] = (),
    learners: tuple[int, ...] = (),
    learners_next: tuple[int, ...] = (),
    auto_leave: bool = False,
) -> Configuration:
    return Configuration(
        frozenset(voters),
        frozenset(outgoing),
        frozenset(learners),
        frozenset(learners_next),
        auto_leave,
    )


def tracker(members: Configuration, match: dict[int, int] | None = None) -> Tracker:
    tracker = Tracker(256)
    progress = {
        node: Progress(
            Inflights(256),
            match_index=(match or {}).get(node, 0),
            is_learner=node in members.learners,
        )
        for node in reversed(members.all_ids())
    }
    tracker.install(members, progress)
    return tracker


# SPEC 4.7


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (configuration(()), "voters=()"),
        (configuration((3, 1, 2)), "voters=(1 2 3)"),
        (configuration((1, 2, 3), (1,)), "voters=(1 2 3)&&(1)"),
        (configuration((1,), learners=(4,)), "voters=(1) learners=(4)"),
        (
            configuration((2, 3), (1, 2), (4,), (1,), True),
            "voters=(2 3)&&(1 2) learners=(4) learners_next=(1) autoleave",
        ),
        # in hexadecimal, but ascending as numbers
        (configuration((16, 9, 10)), "voters=(9 a 10)"),
    ],
)
def test_the_text_of_a_configuration(members: Configuration, text: str) -> None:
    assert str(members) == text


def test_a_configuration_knows_whether_it_is_joint_and_who_is_in_it() -> None:
    members = configuration((2, 3), (1, 2), (4,), (1,))
    assert members.is_joint
    assert members.all_voters == {1, 2, 3}
    assert members.all_ids() == (1, 2, 3, 4)
    assert not configuration((1, 2)).is_joint


def test_a_single_voter_is_a_singleton_unless_joint() -> None:
    assert configuration((1,), learners=(2,)).is_singleton
    assert not configuration((1,), (2,)).is_singleton
    assert not configuration((1, 2)).is_singleton


def test_the_state_of_a_configuration_is_ascending() -> None:
    members = configuration((3, 2), (2, 1), (5, 4), (1,), True)
    assert members.to_state() == ConfigurationState((2, 3), (1, 2), (4, 5), (1,), True)


# D9


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ConfigurationState(), ConfigurationState(), True),
        (ConfigurationState((1, 2)), ConfigurationState((2, 1)), True),
        (ConfigurationState((1, 2), learners=()), ConfigurationState((1, 2)), True),
        (ConfigurationState((1, 2)), ConfigurationState((1, 3)), False),
        (ConfigurationState((1, 2)), ConfigurationState((1,), (2,)), False),
        (ConfigurationState((1,), (2, 3)), ConfigurationState((1,), (3, 2)), True),
        (ConfigurationState((1,), (2,)), ConfigurationState((1,), (3,)), False),
        (
            ConfigurationState((1,), learners=(3, 2)),
            ConfigurationState((1,), learners=(2, 3)),
            True,
        ),
        (ConfigurationState((1,), learners=(2,)), ConfigurationState((1,), learners=(3,)), False),
        (
            ConfigurationState((1,), (2,), learners_next=(2,)),
            ConfigurationState((1,), (2,)),
            False,
        ),
        (ConfigurationState((1,), auto_leave=True), ConfigurationState((1,)), False),
    ],
)
def test_states_are_the_same_in_any_order_but_not_with_another_auto_leave(
    one: ConfigurationState, other: ConfigurationState, same: bool
) -> None:
    assert is_same_state(one, other) is same


@pytest.mark.parametrize(
    ("change", "leaves"),
    [
        (ConfigurationChange(), True),
        (ConfigurationChange(context=b"manual"), True),
        (ConfigurationChange(transition=Transition.JOINT_EXPLICIT), False),
        (ConfigurationChange(transition=Transition.JOINT_IMPLICIT), False),
        (ConfigurationChange((Change(ChangeType.ADD_VOTER, 1),)), False),
    ],
)
def test_a_change_leaves_the_joint_configuration_if_it_is_automatic_and_empty(
    change: ConfigurationChange, leaves: bool
) -> None:
    assert change.is_leave_joint is leaves


# the tracker


def test_the_tracker_iterates_in_ascending_order() -> None:
    members = tracker(configuration((10, 2, 9), learners=(1,)))
    assert members.ids == (1, 2, 9, 10)
    assert list(members.progress) == [1, 2, 9, 10]


def test_only_the_first_vote_of_a_node_counts() -> None:
    members = tracker(configuration((1, 2, 3)))
    members.record_vote(2, False)
    members.record_vote(2, True)
    assert members.tally() == (0, 1, VoteResult.PENDING)


def test_votes_are_counted_among_current_voters_only() -> None:
    members = tracker(configuration((1, 2, 3), learners=(4,)))
    for node in (1, 4, 5):
        members.record_vote(node, True)
    assert members.tally() == (1, 0, VoteResult.PENDING)
    members.record_vote(3, True)
    assert members.tally() == (2, 0, VoteResult.WON)


def test_a_joint_election_counts_each_voter_once_and_needs_both_halves() -> None:
    members = tracker(configuration((1, 2, 3), (3, 4, 5)))
    for node in (1, 3):
        members.record_vote(node, True)
    members.record_vote(4, False)
    assert members.tally() == (2, 1, VoteResult.PENDING)
    members.record_vote(5, False)
    assert members.tally() == (2, 2, VoteResult.LOST)


def test_votes_are_forgotten_for_a_new_election() -> None:
    members = tracker(configuration((1,)))
    members.record_vote(1, True)
    members.reset_votes()
    assert members.tally() == (0, 0, VoteResult.PENDING)


def test_learners_do_not_commit() -> None:
    members = tracker(configuration((1, 2, 3), learners=(4, 5)), {1: 7, 4: 7, 5: 7})
    assert members.commit_index() == 0
    members.progress[2].maybe_update(6)
    assert members.commit_index() == 6


def test_a_joint_configuration_commits_what_both_halves_hold() -> None:
    members = tracker(configuration((1, 2, 3), (3, 4, 5)), {1: 9, 2: 9, 3: 9, 4: 4})
    assert members.commit_index() == 4


def test_an_empty_configuration_holds_nothing_back() -> None:
    assert Tracker(1).commit_index() == INFINITE_INDEX


def test_learners_do_not_keep_a_leader_in_office() -> None:
    members = tracker(configuration((1, 2, 3), learners=(4, 5)))
    for node in (1, 4, 5):
        members.progress[node].recently_active = True
    assert not members.quorum_active()
    members.progress[2].recently_active = True
    assert members.quorum_active()


def test_a_joint_quorum_is_active_when_both_halves_are() -> None:
    members = tracker(configuration((1, 2, 3), (3, 4, 5)))
    for node in (1, 2, 3):
        members.progress[node].recently_active = True
    assert not members.quorum_active()
    members.progress[5].recently_active = True
    assert members.quorum_active()


def test_new_windows_have_the_trackers_limits() -> None:
    window = Tracker(5, 10).new_inflights()
    window.add(1, 10)
    assert window.is_full
    assert Tracker(0).new_inflights().is_full
