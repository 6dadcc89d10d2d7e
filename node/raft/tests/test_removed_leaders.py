"""A leader that removes itself (scenario E2): until the others know, it may be needed (§4.2.2)."""

import pytest
from member_network import Broken, MemberNetwork

from metastore.node.raft.model import ConfigurationChange, EntryType
from metastore.node.raft.state import RaftState


def the_leader_alone_has_its_removal() -> MemberNetwork:
    """1 appends its removal and something more, and starts again before anybody has them; 2 is
    away, and 3 is behind 1."""
    network = MemberNetwork()
    network.elect(1)
    network.settle()
    network.part((1, 2))
    network.propose(1, "not known to 3")
    network.settle(2)
    network.part()
    network.change(1, "r1")
    network.kill(1, 2)
    network.restart(1)
    network.heal()
    network.run(lambda: network.leader is not None, "somebody leads")
    return network


def test_a_server_that_is_not_in_the_newest_configuration_of_its_log_still_wins() -> None:
    network = the_leader_alone_has_its_removal()
    assert network[1].leads
    network.run(lambda: not network[1].leads, "the removed leader steps down")
    assert network[1].members == "voters=(2 3)"
    network.restart(2)
    network.run(lambda: network.leader is not None, "one of the others leads")
    network.settle()
    assert network[3].data == ["not known to 3"]
    assert network[3].members == "voters=(2 3)"


def test_twin_one_that_looks_for_itself_in_its_log_leaves_nobody_to_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promotable = RaftState.is_promotable

    def stands_in_its_newest_configuration(raft: RaftState) -> bool:
        log = raft.log
        tail = log.slice(log.commit_index + 1, log.last_index + 1)
        changes = [ConfigurationChange.decode(e.data) for e in tail if e.type != EntryType.NORMAL]
        gone = {change.node_id for each in changes for change in each.changes}
        return raft.id not in gone and promotable.__get__(raft)

    monkeypatch.setattr(RaftState, "is_promotable", property(stands_in_its_newest_configuration))
    with pytest.raises(Broken, match="somebody leads"):
        the_leader_alone_has_its_removal()


def test_a_removed_leader_that_goes_on_does_not_count_itself() -> None:
    # C6: with step_down_on_removal off, as etcd has it.
    network = MemberNetwork(step_down_on_removal=False, check_quorum=False)
    network.elect(1)
    network.settle()
    network.change(1, "r1")
    network.run(lambda: network[1].members == "voters=(2 3)", "its removal")
    network.settle(2)
    assert network[1].leads
    network.part((1, 2))
    commit_index = network[1].core.commit_index
    assert not network.propose(1, "of a leader that is gone")
    network.steps(20)
    assert network[1].core.commit_index == commit_index
    network.kill(1)
    network.heal()
    network.run(lambda: network.leader is not None, "one of the others leads")


def test_the_last_voter_is_never_removed() -> None:
    network = MemberNetwork(voters=(1,))
    network.elect(1)
    network.change(1, "r1")
    network.steps(3)
    assert network[1].leads
    assert network[1].members == "voters=(1)"
