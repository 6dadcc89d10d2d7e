"""Members come and go (§6 of the paper, §4 of the dissertation): what the core does about it."""

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server, accept

from metastore.node.raft.changes import ChangeRefused
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Propose,
    TimeoutNow,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    Role,
    Transition,
)


def add(node: int) -> ConfigurationChange:
    return ConfigurationChange((Change(ChangeType.ADD_VOTER, node),))


def remove(node: int) -> ConfigurationChange:
    return ConfigurationChange((Change(ChangeType.REMOVE, node),))


def learn(node: int) -> ConfigurationChange:
    return ConfigurationChange((Change(ChangeType.ADD_LEARNER, node),))


def members(server: Server) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Voters and learners."""
    state = server.core.status().configuration.to_state()
    return state.voters, state.learners


def is_learner(server: Server, node: int) -> bool:
    return server.core.raft.tracker.progress[node].is_learner


def test_a_proposed_change_is_appended_and_pending_until_it_is_applied() -> None:
    # StepConfig
    server = Server(1, voters=(1, 2))
    server.elect()
    server.core.propose_change(add(3))
    assert server.core.last_index == 2
    assert server.core.raft.pending_change_index == 2
    server.read()
    assert server.log[1] == Entry(1, 2, EntryType.CONFIGURATION, add(3).encode())


def test_a_second_change_is_emptied_while_the_first_one_is_unapplied() -> None:
    # StepIgnoreConfig. §4.1: a leader appends no change before the one before it is applied.
    server = Server(1, voters=(1, 2))
    server.elect()
    server.core.propose_change(add(3))
    server.core.propose_change(add(4))
    server.read()
    assert server.log[2] == Entry(1, 3)
    assert server.core.raft.pending_change_index == 2


def test_of_two_changes_proposed_together_the_second_is_emptied() -> None:
    server = Server(1, voters=(1, 2))
    server.elect()
    both = [Entry(0, 0, EntryType.CONFIGURATION, add(node).encode()) for node in (3, 4)]
    server.step(Propose(entries=tuple(both)))
    server.read()
    assert [entry.type for entry in server.log[1:]] == [EntryType.CONFIGURATION, EntryType.NORMAL]


def test_the_next_change_is_appended_once_the_first_is_applied() -> None:
    network = Network.of(3)
    network.hup(1)
    network.change(1, remove(3))
    network.change(1, remove(2))
    assert members(network[1]) == ((1,), ())


@pytest.mark.parametrize(("log", "pending"), [((), 0), ((1,), 1)])
def test_a_new_leader_takes_all_it_has_inherited_for_unapplied(
    log: tuple[int, ...], pending: int
) -> None:
    # NewLeaderPendingConfig
    server = Server(1, voters=(1, 2), log=log)
    server.elect()
    assert server.core.raft.pending_change_index == pending


def test_a_new_leader_appends_no_change_before_it_has_applied_what_it_inherited() -> None:
    server = Server(1, voters=(1, 2), log=[Entry(1, 1, EntryType.CONFIGURATION, add(3).encode())])
    server.elect()
    server.core.propose_change(add(4))
    server.read()
    assert server.log[-1] == Entry(2, 3)


def test_voters_and_learners_are_added_promoted_and_demoted() -> None:
    # AddNode, AddLearner
    server = Server(1, voters=(1,))
    server.core.apply_change(add(2))
    assert members(server) == ((1, 2), ())
    server.core.apply_change(learn(3))
    assert members(server) == ((1, 2), (3,))
    assert is_learner(server, 3)
    server.core.apply_change(add(3))
    assert members(server) == ((1, 2, 3), ())
    assert not is_learner(server, 3)
    server.core.apply_change(learn(1))
    assert members(server) == ((2, 3), (1,))
    assert not server.core.raft.is_promotable
    server.core.apply_change(add(1))
    assert members(server) == ((1, 2, 3), ())
    assert server.core.raft.is_promotable


def test_voters_and_learners_are_removed_but_never_the_last_voter() -> None:
    # RemoveNode, RemoveLearner
    server = Server(1, voters=(1, 2), learners=(3,))
    server.core.apply_change(remove(2))
    assert members(server) == ((1,), (3,))
    server.core.apply_change(remove(3))
    assert members(server) == ((1,), ())
    with pytest.raises(ChangeRefused, match="removed all voters"):
        server.core.apply_change(remove(1))
    assert members(server) == ((1,), ())


@pytest.mark.parametrize(
    ("voters", "promotable"),
    [((1,), True), ((1, 2, 3), True), ((), False), ((2, 3), False)],
)
def test_only_a_voter_may_campaign(voters: tuple[int, ...], promotable: bool) -> None:
    # Promotable
    server = Server(1, voters=voters)
    assert server.core.raft.is_promotable is promotable
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    assert (server.core.role is not Role.FOLLOWER) is promotable


def test_the_members_are_in_ascending_order() -> None:
    # RaftNodes
    server = Server(1, voters=(3, 2, 1), learners=(5, 4))
    assert server.core.raft.tracker.ids == (1, 2, 3, 4, 5)
    assert members(server) == ((1, 2, 3), (4, 5))


def test_removing_a_node_commits_what_the_smaller_quorum_holds() -> None:
    # CommitAfterRemoveNode
    server = Server(1, voters=(1, 2))
    server.lead()
    server.core.propose_change(remove(2))
    server.read()
    change_index = server.core.last_index
    server.core.propose(b"hello")
    server.read()
    assert [entry.index for entry in server.applied] == [1]
    server.step(AppendEntriesReply(sender=2, to=1, term=1, index=change_index))
    ready = server.core.ready()
    assert [entry.type for entry in ready.committed] == [EntryType.CONFIGURATION]
    server.complete(ready)
    server.read()
    assert server.applied[-1].data == b"hello"


@pytest.mark.parametrize("kind", [EntryType.CONFIGURATION_V1, EntryType.CONFIGURATION])
def test_no_node_campaigns_over_a_committed_change_that_it_has_not_applied(
    kind: EntryType,
) -> None:
    # ConfChangeCheckBeforeCampaign, ConfChangeV2CheckBeforeCampaign: neither when its time is up
    # nor when the leader hands over. It would count votes by a configuration that is history.
    log = [Entry(1, 1), Entry(1, 2, kind, remove(3).encode())]
    server = Server(2, log=log, hard_state=HardState(1, 0, 2))
    roles = []
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    roles.append(server.core.role)
    server.step(TimeoutNow(sender=1, to=2, term=1))
    roles.append(server.core.role)
    server.read()
    server.step(TimeoutNow(sender=1, to=2, term=1))
    roles.append(server.core.role)
    assert roles == [Role.FOLLOWER, Role.FOLLOWER, Role.CANDIDATE]


def test_a_change_that_is_not_committed_keeps_nobody_from_campaigning() -> None:
    log = [Entry(1, 1), Entry(1, 2, EntryType.CONFIGURATION, remove(3).encode())]
    server = Server(2, log=log, hard_state=HardState(1, 0, 1))
    server.core.campaign()
    assert server.core.role is Role.CANDIDATE


def test_a_follower_forwards_proposals_unless_it_is_told_not_to() -> None:
    # DisableProposalForwarding
    for disabled in (False, True):
        server = Server(2, disable_proposal_forwarding=disabled)
        server.step(AppendEntries(sender=1, to=2, term=1))
        server.read()
        if disabled:
            with pytest.raises(ProposalDropped):
                server.core.propose(b"data")
            assert server.read() == []
        else:
            server.core.propose(b"data")
            (forwarded,) = server.read()
            assert isinstance(forwarded, Propose)
            assert (forwarded.to, forwarded.entries[0].data) == (1, b"data")


def test_a_new_node_is_sent_what_it_lacks_as_soon_as_it_is_added() -> None:
    server = Server(1, voters=(1,))
    server.lead()
    server.core.propose_change(add(2))
    (probe,) = [one for one in server.read() if isinstance(one, AppendEntries)]
    assert (probe.to, probe.prev_log_index) == (2, 1)
    server.step(accept(probe))
    assert server.core.status().progress[2].match_index == 2


def test_a_new_node_does_not_cost_its_leader_the_office() -> None:
    # The node just added has had no time to answer; CheckQuorum must not count that against it.
    server = Server(1, voters=(1,), check_quorum=True)
    server.lead()
    server.core.propose_change(add(2))
    server.read()
    server.tick(ELECTION_TIMEOUT_TICKS)
    assert server.core.role is Role.LEADER


@pytest.mark.parametrize("step_down", [False, True])
def test_a_removed_leader_steps_down_only_if_it_is_told_to(step_down: bool) -> None:
    # §4.2.2: it goes on leading without counting itself until the change is known to the others.
    server = Server(1, step_down_on_removal=step_down)
    server.lead()
    state = server.core.apply_change(remove(1))
    assert state == ConfigurationState(voters=(2, 3))
    assert (server.core.role is Role.LEADER) is not step_down
    with pytest.raises(ProposalDropped):
        server.core.propose(b"data")


def test_a_change_that_no_node_could_apply_is_dropped() -> None:
    server = Server(1, voters=(1,))
    server.lead()
    with pytest.raises(ProposalDropped):
        server.step(Propose(entries=(Entry(0, 0, EntryType.CONFIGURATION, b"\xff"),)))
    with pytest.raises(ValueError, match="exactly one change"):
        server.core.propose_change(
            ConfigurationChange(add(2).changes, Transition.JOINT_EXPLICIT), v1=True
        )
    assert server.core.last_index == 1
