"""Restored configurations, and joint changes against single steps (PAPER_TESTS D8)."""

from random import Random

import pytest
from change_group import Group, changes

from metastore.node.raft.changes import Changer, ChangeRefused, restore
from metastore.node.raft.configuration import Configuration, is_same_state
from metastore.node.raft.model import Change, ChangeType, ConfigurationState, RaftFailed

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
            singles.take(singles.changer.simple([step]))
        joint.take(joint.changer.enter_joint(bool(random.randrange(2)), steps))
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
