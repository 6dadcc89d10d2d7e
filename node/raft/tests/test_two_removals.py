"""Two voters removed at once: by a joint configuration, in which both halves have to agree (§6)."""

from collections.abc import Iterable

import pytest
from member_checks import LOST
from member_network import Broken, MemberNetwork

from metastore.node.raft.changes import Changer, Outcome
from metastore.node.raft.model import Change, Transition


def only_the_leader_has_applied_it() -> MemberNetwork:
    """Of 1 to 5, 1 removes 4 and 5; 3 has the change and does not know that it is committed. Then
    1 and 2 are apart from the rest, who want a leader."""
    network = MemberNetwork(voters=(1, 2, 3, 4, 5))
    network.elect(1)
    network.settle()
    network.part((1, 2, 3), (4, 5))
    network.change(1, "r4 r5", transition=Transition.JOINT_IMPLICIT)
    network.run(lambda: network[1].members != "voters=(1 2 3 4 5)", "the change")
    network.part((1, 2), (3, 4, 5))
    network.propose(1, "of two of three")
    network.steps(60)
    return network


def test_the_old_majority_still_counts_until_the_joint_configuration_is_left() -> None:
    network = only_the_leader_has_applied_it()
    assert not network[1].data
    network.heal()
    network.run(lambda: network[3].members == "voters=(1 2 3)", "it is left")
    network.run(lambda: network.leader is not None, "somebody leads")
    network.settle(1, 2, 3)


def test_twin_two_at_once_without_the_joint_step_decide_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def directly(changer: Changer, auto_leave: bool, changes: Iterable[Change]) -> Outcome:
        draft = changer._draft()
        changer._apply(draft, changes)
        return draft.finish()

    monkeypatch.setattr(Changer, "enter_joint", directly)
    with pytest.raises(Broken, match=LOST):
        only_the_leader_has_applied_it()
