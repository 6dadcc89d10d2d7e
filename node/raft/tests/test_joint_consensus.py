"""Joint consensus from the proposal to its end (§6 of the paper, §4.3 of the dissertation)."""

from collections.abc import Iterable

import pytest
from raft_network import Server, accept

from metastore.node.raft.messages import (
    AppendEntries,
    HeartbeatReply,
    RequestVoteReply,
    StorageApplyReply,
)
from metastore.node.raft.model import (
    APPLY_THREAD,
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    Role,
    Snapshot,
    Transition,
)

AUTO, IMPLICIT, EXPLICIT = Transition.AUTO, Transition.JOINT_IMPLICIT, Transition.JOINT_EXPLICIT
ADD_2 = Change(ChangeType.ADD_VOTER, 2)
LEARN_1, LEARN_2, LEARN_3 = (Change(ChangeType.ADD_LEARNER, node) for node in (1, 2, 3))


def change(*changes: Change, transition: Transition = AUTO) -> ConfigurationChange:
    return ConfigurationChange(changes, transition, b"why")


def run(server: Server) -> list[ConfigurationState]:
    """Completes all work, with every other node accepting all it is sent; the configurations that
    came of it."""
    seen = [server.storage.initial_state()[1]]
    while server.core.has_ready():
        sent = server.complete(server.core.ready())
        server.step(*(accept(append) for append in sent if isinstance(append, AppendEntries)))
        state = server.storage.initial_state()[1]
        if state != seen[-1]:
            seen.append(state)
    return seen[1:]


def state(
    voters: Iterable[int],
    outgoing: Iterable[int] = (),
    learners: Iterable[int] = (),
    learners_next: Iterable[int] = (),
    auto_leave: bool = False,
) -> ConfigurationState:
    return ConfigurationState(
        tuple(voters), tuple(outgoing), tuple(learners), tuple(learners_next), auto_leave
    )


SWAP = (ADD_2, LEARN_1, LEARN_3)
TABLE = [
    (change(ADD_2), True, state([1, 2]), None),
    (change(ADD_2), False, state([1, 2]), None),
    (change(LEARN_2), False, state([1], learners=[2]), None),
    (
        change(LEARN_2, transition=EXPLICIT),
        False,
        state([1], [1], [2]),
        state([1], learners=[2]),
    ),
    (
        change(LEARN_2, transition=IMPLICIT),
        False,
        state([1], [1], [2], auto_leave=True),
        state([1], learners=[2]),
    ),
    (
        change(*SWAP),
        False,
        state([2], [1], [3], [1], auto_leave=True),
        state([2], learners=[1, 3]),
    ),
    (
        change(*SWAP, transition=EXPLICIT),
        False,
        state([2], [1], [3], [1]),
        state([2], learners=[1, 3]),
    ),
    (
        change(*SWAP, transition=IMPLICIT),
        False,
        state([2], [1], [3], [1], auto_leave=True),
        state([2], learners=[1, 3]),
    ),
]


@pytest.mark.parametrize(("proposed", "v1", "entered", "left"), TABLE)
def test_a_change_leads_to_these_configurations(
    proposed: ConfigurationChange,
    v1: bool,
    entered: ConfigurationState,
    left: ConfigurationState | None,
) -> None:
    # RawNodeProposeAndConfChange, table 12: from the single voter 1.
    server = Server(1, voters=(1,))
    server.lead()
    server.core.propose(b"something before it")
    server.core.propose_change(proposed, v1=v1)
    seen = run(server)
    kind = EntryType.CONFIGURATION_V1 if v1 else EntryType.CONFIGURATION
    assert server.log[2] == Entry(1, 3, kind, proposed.encode())
    if left is None or not entered.auto_leave:
        assert seen == [entered]
        assert server.core.raft.pending_change_index == 3
        assert server.core.last_index == 3
    if left is not None and not entered.auto_leave:
        server.core.propose_change(ConfigurationChange(context=b"manual"))
        assert run(server) == [left]
        assert ConfigurationChange.decode(server.log[3].data).context == b"manual"
    if left is not None and entered.auto_leave:
        assert seen == [entered, left]
        assert server.core.raft.pending_change_index == 4
        assert server.log[3:] == [Entry(1, 4, EntryType.CONFIGURATION)]


def test_a_demoted_leader_goes_on_until_it_has_left_the_joint_configuration() -> None:
    server = Server(1, voters=(1,))
    server.lead()
    server.core.propose_change(change(*SWAP))
    run(server)
    assert server.core.role is Role.LEADER
    assert server.core.status().progress[1].is_learner
    assert not server.core.raft.is_promotable


def test_a_joint_configuration_entered_out_of_office_is_left_by_the_next_leader() -> None:
    # RawNodeJointAutoLeave
    server = Server(1, voters=(1,))
    server.lead()
    server.core.propose_change(change(LEARN_2, transition=IMPLICIT))
    while not (ready := server.core.ready()).committed:
        server.complete(ready)
    # Committed and handed out to be applied; now it learns of a later term.
    server.step(HeartbeatReply(sender=1, to=1, term=2))
    assert server.core.role is Role.FOLLOWER
    server.complete(ready)
    assert run(server) == []
    assert server.core.status().configuration.to_state() == state([1], [1], [2], auto_leave=True)
    assert server.core.last_index == 2  # nobody but a leader proposes the way out
    server.core.campaign()
    assert run(server) == [state([1], learners=[2])]
    assert server.log[2:] == [Entry(3, 3), Entry(3, 4, EntryType.CONFIGURATION)]


def test_a_joint_configuration_is_not_left_before_its_own_change_is_applied() -> None:
    # The entry before the change and the change are applied in two batches, and the driver takes
    # over the configuration when it gets there: before the core hears that the first one is done.
    server = Server(1, voters=(1,), async_storage_writes=True, max_committed_bytes_per_ready=1)
    server.core.campaign()
    server.core.raft.step(RequestVoteReply(sender=1, to=1, term=1))
    server.core.propose_change(change(LEARN_2, transition=IMPLICIT))
    server.core.apply_change(change(LEARN_2, transition=IMPLICIT))
    server.core.raft.log.commit_to(2)
    server.step(StorageApplyReply(sender=APPLY_THREAD, to=1, entries=(Entry(1, 1),)))
    assert server.core.last_index == 2
    server.step(StorageApplyReply(sender=APPLY_THREAD, to=1, entries=(Entry(1, 2),)))
    assert server.core.last_index == 3


def test_a_joint_configuration_in_a_snapshot_is_left_by_the_next_leader() -> None:
    joint = state([1], [1], [2], auto_leave=True)
    server = Server(1, snapshot=Snapshot(5, 1, joint), hard_state=HardState(1, 0, 5), applied=5)
    server.core.campaign()
    assert run(server) == [state([1], learners=[2])]


def test_the_same_change_may_be_proposed_twice() -> None:
    # RawNodeProposeAddDuplicateNode, NodeProposeAddDuplicateNode
    server = Server(1, voters=(1,))
    server.lead()
    again = change(Change(ChangeType.ADD_VOTER, 1))
    for proposed in (again, again, change(ADD_2)):
        server.core.propose_change(proposed, v1=True)
        run(server)
    assert [ConfigurationChange.decode(entry.data) for entry in server.log[1:]] == [
        again,
        again,
        change(ADD_2),
    ]
    assert server.core.status().configuration.to_state() == state([1, 2])


@pytest.mark.parametrize("leave", [False, True])
def test_a_change_that_does_not_fit_is_emptied_and_leaves_the_configuration(leave: bool) -> None:
    server = Server(1, voters=(1,))
    server.lead()
    if leave:
        server.core.propose_change(ConfigurationChange())  # not joint: nothing to leave
    else:
        server.core.propose_change(change(LEARN_2, transition=EXPLICIT))
        run(server)
        server.core.propose_change(change(ADD_2))  # joint: it must be left first
    index = server.core.last_index
    run(server)
    assert server.log[-1] == Entry(1, index)


def test_an_election_in_a_joint_configuration_needs_both_majorities() -> None:
    # §6: elections need separate majorities from both configurations.
    server = Server(1, voters=(1, 2, 3))
    server.core.apply_change(
        change(
            *(Change(ChangeType.REMOVE, node) for node in (2, 3)),
            *(Change(ChangeType.ADD_VOTER, node) for node in (4, 5)),
            transition=EXPLICIT,
        )
    )
    server.core.campaign()
    server.read()
    roles = []
    for node in (4, 5, 2):
        server.step(RequestVoteReply(sender=node, to=1, term=1))
        roles.append(server.core.role)
    assert roles == [Role.CANDIDATE, Role.CANDIDATE, Role.LEADER]
