"""Configuration changes, simple and joint (PAPER_TESTS D8; SPEC 6.7, 9.2; paper 6)."""

from random import Random

import pytest
from metastore.node.raft.changes import Changer, ChangeRefused, check_configuration, restore
from metastore.node.raft.configuration import Configuration, is_same_state
from metastore.node.raft.model import Change, ChangeType, ConfigurationState, RaftFailed
from metastore.node.raft.progress import Inflights, Progress

LETTERS = {
    "v": ChangeType.ADD_VOTER,
    "l": ChangeType.ADD_LEARNER,
    "r": ChangeType.REMOVE,
    "u": ChangeType.UPDATE,
}


def changes(text: str) -> list[Change]:
    return [Change(LETTERS[word[0]], int(word[1:])) for word in text.split()]


class Group:
    """A configuration in force with its progress; refused changes leave it as it was."""

    def __init__(self, text: str = "", last_index: int = 10) -> None:
        self.configuration = Configuration()
        self.progress: dict[int, Progress] = {}
        self.last_index = last_index
        for change in changes(text):
            self._take(self.changer.simple([change]))

    @property
    def changer(self) -> Changer:
        return Changer(self.configuration, self.progress, self.last_index, 256)

    def _take(self, outcome: tuple[Configuration, dict[int, Progress]]) -> "Group":
        self.configuration, self.progress = outcome
        return self

    def simple(self, text: str) -> "Group":
        return self._take(self.changer.simple(changes(text)))

    def enter(self, text: str, auto_leave: bool = False) -> "Group":
        return self._take(self.changer.enter_joint(auto_leave, changes(text)))

    def leave(self) -> "Group":
        return self._take(self.changer.leave_joint())

    @property
    def learners_tracked(self) -> list[int]:
        return [node for node, peer in self.progress.items() if peer.is_learner]

    def __str__(self) -> str:
        return str(self.configuration)


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


# D8: restoring


@pytest.mark.parametrize(
    "state",
    [
        ConfigurationState(),
        ConfigurationState((1, 2, 3)),
        ConfigurationState((1, 2, 3), learners=(4, 5, 6)),
        ConfigurationState((1, 2, 3), (1, 2, 4, 6), (5,), (4,)),
        ConfigurationState((1, 2, 3), (1, 2, 4, 6), (5,), (4,), True),
        ConfigurationState((3, 1, 2), learners=(5, 4)),
    ],
)
def test_restoring_a_state_gives_that_state(state: ConfigurationState) -> None:
    configuration, progress = restore(state, 20, 256)
    assert is_same_state(configuration.to_state(), state)
    assert tuple(progress) == configuration.all_ids()
    assert {node for node in progress if progress[node].is_learner} == set(state.learners)
    for tracked in progress.values():
        assert (tracked.match_index, tracked.next_index) == (0, 20)


def test_a_state_that_no_changes_lead_to_is_refused() -> None:
    with pytest.raises(ChangeRefused):
        restore(ConfigurationState(learners=(1,)), 1, 256)
    with pytest.raises(RaftFailed):
        restore(ConfigurationState((1, 2), learners=(2, 3)), 1, 256)


def random_state(random: Random) -> ConfigurationState:
    ids = random.sample(range(1, 20), 12)
    voters, rest = ids[: random.randrange(1, 6)], ids[6:]
    cut = random.randrange(4)
    learners, removed = rest[:cut], rest[cut:]
    if random.randrange(2):
        return ConfigurationState(tuple(voters), learners=tuple(learners))
    kept = [node for node in voters if random.randrange(2)]
    gone = removed[: random.randrange(1, 3)]
    learners_next = [node for node in gone if random.randrange(2)]
    return ConfigurationState(
        tuple(voters),
        tuple(kept + gone),
        tuple(learners),
        tuple(learners_next),
        bool(random.randrange(2)),
    )


def test_restoring_random_states_gives_those_states() -> None:
    random = Random(5)
    for _ in range(300):
        state = random_state(random)
        configuration, progress = restore(state, 5, 256)
        assert is_same_state(configuration.to_state(), state), state
        assert tuple(progress) == configuration.all_ids()


# D8: joint changes are equivalent to the same ones made one by one


def test_entering_and_leaving_gives_what_single_steps_give() -> None:
    random = Random(11)
    kinds = list(ChangeType)
    for _ in range(300):
        # Voter 1 is never touched, so that no step can remove the last one.
        steps = [
            Change(random.choice(kinds), random.randrange(2, 6))
            for _ in range(random.randrange(1, 9))
        ]
        start = "v1 " + " ".join(f"{random.choice('vl')}{node}" for node in range(2, 5))
        singles, joint = Group(start), Group(start)
        for step in steps:
            singles._take(singles.changer.simple([step]))
        joint._take(joint.changer.enter_joint(bool(random.randrange(2)), steps))
        joint.leave()
        assert str(singles) == str(joint), (start, steps)
        assert {n: str(p) for n, p in singles.progress.items()} == {
            n: str(p) for n, p in joint.progress.items()
        }, (start, steps)


def test_in_flight_limits_reach_the_new_peers() -> None:
    _, progress = Changer(Configuration(), {}, 1, 5, 10).simple(changes("v1"))
    progress[1].inflights.add(1, 10)
    assert progress[1].inflights.is_full
    _, restored = restore(ConfigurationState((1,)), 1, 1)
    restored[1].inflights.add(1, 10)
    assert restored[1].inflights.is_full
