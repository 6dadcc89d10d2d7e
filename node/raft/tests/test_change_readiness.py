"""What a driver may ask a leader before it proposes a change or hands over."""

from raft_network import ELECTION_TIMEOUT_TICKS, Network

from metastore.node.raft.messages import AppendEntriesReply, TimeoutNow
from metastore.node.raft.model import Change, ChangeType, ConfigurationChange, Transition

LEARN_4 = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 4),))


def led() -> Network:
    network = Network.of(3)
    network.hup(1)
    return network


def test_a_leader_that_has_committed_in_its_term_may_propose_a_change() -> None:
    assert led()[1].core.may_propose_change


def test_before_that_it_may_not() -> None:
    network = Network.of(3)
    network.ignore(AppendEntriesReply)
    network.hup(1)
    assert not network[1].core.may_propose_change


def test_an_entry_of_an_earlier_term_does_not_count() -> None:
    # All that node 2 finds in its log is applied, and yet node 1 may have a change that it lacks.
    network = led()
    network.filter = lambda m: not (isinstance(m, AppendEntriesReply) and m.to == 2)
    network.hup(2)
    core = network[2].core
    assert core.last_applied == core.last_index - 1
    assert not core.may_propose_change


def test_one_change_at_a_time() -> None:
    network = led()
    network.ignore(AppendEntriesReply)
    network.change(1, LEARN_4)
    assert not network[1].core.may_propose_change
    network.heal()
    network.prop(1)
    assert network[1].core.may_propose_change


def test_no_change_may_be_proposed_in_a_joint_configuration() -> None:
    network = led()
    joint = ConfigurationChange(LEARN_4.changes, Transition.JOINT_EXPLICIT)
    network.change(1, joint)
    assert not network[1].core.may_propose_change
    network.change(1, ConfigurationChange())
    assert network[1].core.may_propose_change


def test_no_change_may_be_proposed_while_the_leader_hands_over() -> None:
    network = led()
    network.ignore(TimeoutNow)
    core = network[1].core
    core.transfer_leadership(2)
    network.settle()
    assert (core.transfer_target, core.may_propose_change) == (2, False)
    network.tick(1, ELECTION_TIMEOUT_TICKS)
    assert (core.transfer_target, core.may_propose_change) == (0, True)


def test_a_leader_knows_how_far_each_member_has_the_log() -> None:
    network = led()
    network.isolate(3)
    network.prop(1)
    core = network[1].core
    assert [core.match_index_or_none(node) for node in (1, 2, 3, 9)] == [2, 2, 1, None]
