"""Linearizable reads: which index they wait for, and who may answer (§6.4 of the dissertation)."""

from typing import Any

import pytest
from raft_network import Network, Server

from metastore.node.raft.config import ReadOnly
from metastore.node.raft.messages import (
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    HardState,
    ReadState,
    Role,
    Transition,
)

SAFE: dict[str, Any] = {"read_only": ReadOnly.SAFE}
LEASE: dict[str, Any] = {"read_only": ReadOnly.LEASE, "check_quorum": True}


def ask(network: Network, node: int, context: bytes = b"read") -> None:
    network[node].core.read_index(context)
    network.settle()


def beats_of(server: Server) -> list[Heartbeat]:
    return [message for message in server.read() if isinstance(message, Heartbeat)]


def answer(beat: Heartbeat) -> HeartbeatReply:
    return HeartbeatReply(
        sender=beat.to, to=beat.sender, term=beat.term, read_sequence=beat.read_sequence
    )


@pytest.mark.parametrize("settings", [SAFE, LEASE], ids=["safe", "lease"])
def test_a_read_asked_anywhere_waits_for_what_was_committed_before_it(
    settings: dict[str, Any],
) -> None:
    # ReadOnlyOptionSafe, ReadOnlyOptionLease
    network = Network.of(3, **settings)
    network.hup(1)
    committed = 1
    for turn, node in enumerate((1, 2, 3, 1, 2, 3), 1):
        for _ in range(10):
            network.prop(1)
        committed += 10
        context = b"read %d" % turn
        ask(network, node, context)
        assert network[node].read_states == [ReadState(committed, context)]
        network[node].read_states.clear()


def test_a_learner_reads_through_the_leader() -> None:
    # ReadOnlyWithLearner
    network = Network(*(Server(node, voters=(1,), learners=(2,)) for node in (1, 2)))
    network.hup(1)
    for turn, node in enumerate((1, 2, 1, 2), 1):
        for _ in range(10):
            network.prop(1)
        ask(network, node)
        assert network[node].read_states == [ReadState(10 * turn + 1, b"read")]
        network[node].read_states.clear()


def test_an_only_voter_answers_without_asking_its_learners() -> None:
    server = Server(1, voters=(1,), learners=(2,))
    server.lead()
    server.core.read_index(b"read")
    assert beats_of(server) == []
    assert server.read_states == [ReadState(1, b"read")]


@pytest.mark.parametrize("settings", [SAFE, LEASE], ids=["safe", "lease"])
def test_a_new_leader_answers_no_read_before_it_commits_in_its_term(
    settings: dict[str, Any],
) -> None:
    # ReadOnlyForNewLeader. §6.4, step 1: the commit index may be older than what was promised.
    hard_states = {1: HardState(1, 0, 1), 2: HardState(1, 0, 2), 3: HardState(1, 0, 2)}
    network = Network(
        *(
            Server(node, log=(1, 1), hard_state=state, **settings)
            for node, state in hard_states.items()
        )
    )
    network.ignore(AppendEntries)
    network.hup(1)
    assert network[1].core.role is Role.LEADER
    ask(network, 1)
    assert network[1].read_states == []
    network.heal()
    network[1].tick()
    network.prop(1)
    assert network[1].core.commit_index == 4
    assert network[1].read_states == [ReadState(4, b"read")]
    ask(network, 1, b"second")
    assert network[1].read_states[1:] == [ReadState(4, b"second")]


def test_late_answers_of_followers_confirm_no_read_asked_after_them() -> None:
    # ReadOnlyDuplicateRequest: answers that arrive twice and late, around a change of the leader.
    network = Network.of(3)
    network.hup(1)
    network.prop(1)
    late: list[HeartbeatReply] = []

    def keep_answers(message: object) -> bool:
        if isinstance(message, HeartbeatReply):
            late.append(message)
            return False
        return True

    network.filter = keep_answers
    ask(network, 1, b"before")
    assert network[1].read_states == []
    assert len(late) == 2
    network.isolate(1)
    network.filter = lambda message: True
    network.hup(2)
    network.prop(2)
    assert (network[2].core.commit_index, network[1].core.role) == (4, Role.LEADER)
    network[1].core.read_index(b"after")  # the old leader does not know what has been committed
    network[1].read()
    network[1].step(*late, *late)
    network[1].read()
    # Index 2 was the newest when that read was asked; the other one must wait for ever.
    assert network[1].read_states == [ReadState(2, b"before")]
    network.heal()
    network.beat(2)
    network.hup(1)
    assert network[1].core.role is Role.LEADER
    committed = network[1].core.commit_index
    network.filter = keep_answers
    ask(network, 1, b"again")
    network.filter = lambda message: True
    network.send(*late[:2])  # of the term before: the numbers in them count from another start
    assert network[1].read_states[1:] == []
    network.send(*late[2:], *late[2:])
    assert network[1].read_states[1:] == [ReadState(committed, b"again")]


def test_a_read_asked_twice_is_answered_twice_and_never_with_an_old_index() -> None:
    # ReadOnlyDuplicateRequest: the request itself is duplicated, and delayed by a write.
    network = Network.of(3)
    network.hup(1)
    network.prop(1)
    request = ReadIndex(sender=2, to=1, context=b"read")
    network.send(request)
    network.prop(1)
    network.send(request)
    assert network[2].read_states == [ReadState(2, b"read"), ReadState(3, b"read")]


def test_an_answered_read_leaves_nothing_behind() -> None:
    # RaftFreesReadOnlyMem
    server = Server(1, voters=(1, 2))
    server.lead()
    server.step(ReadIndex(sender=2, to=1, context=b"read"))
    (beat,) = beats_of(server)
    assert len(server.core.raft.reads.pending) == 1
    server.step(answer(beat))
    assert server.read() == [ReadIndexReply(sender=1, to=2, term=1, read_index=1, context=b"read")]
    assert not server.core.raft.reads.is_waiting


def test_one_answer_confirms_all_reads_asked_before_it() -> None:
    server = Server(1)
    server.lead()
    server.core.read_index(b"first")
    server.core.read_index(b"second")
    newest = beats_of(server)[-1]
    server.core.read_index(b"third")
    server.read()
    server.step(answer(newest))
    server.read()
    assert [state.context for state in server.read_states] == [b"first", b"second"]


def test_a_lost_round_of_heartbeats_is_made_up_for_by_the_next_one() -> None:
    server = Server(1)
    server.lead()
    server.core.read_index(b"read")
    server.read()
    server.tick()
    server.step(answer(beats_of(server)[0]))
    server.read()
    assert server.read_states == [ReadState(1, b"read")]


def test_a_learners_answer_confirms_no_read() -> None:
    server = Server(1, voters=(1, 2), learners=(3,))
    server.lead()
    server.core.read_index(b"read")
    to_voter, to_learner = beats_of(server)
    server.step(answer(to_learner))
    server.read()
    assert server.read_states == []
    server.step(answer(to_voter))
    server.read()
    assert server.read_states == [ReadState(1, b"read")]


def test_a_read_in_a_joint_configuration_needs_both_majorities() -> None:
    # §6 of the paper: agreement requires separate majorities from both configurations.
    server = Server(1, voters=(1, 2, 3))
    server.lead()
    changes = [Change(ChangeType.REMOVE, node) for node in (2, 3)]
    changes += [Change(ChangeType.ADD_VOTER, node) for node in (4, 5)]
    server.core.apply_change(ConfigurationChange(tuple(changes), Transition.JOINT_EXPLICIT))
    server.core.read_index(b"read")
    beats = {beat.to: beat for beat in beats_of(server)}
    server.step(answer(beats[4]), answer(beats[5]))
    server.read()
    assert server.read_states == []
    server.step(answer(beats[2]))
    server.read()
    assert server.read_states == [ReadState(1, b"read")]


def test_a_leader_that_moved_on_forwards_reads_to_its_successor() -> None:
    # NodeReadIndexToOldLeader
    network = Network.of(3)
    network.hup(1)
    requests = []
    for node in (2, 3):
        network[node].core.read_index(b"read")
        (request,) = network[node].read()
        assert request == ReadIndex(sender=node, to=1, context=b"read")
        requests.append(request)
    network.hup(3)
    network[1].step(*requests)
    assert network[1].read() == [
        ReadIndex(sender=2, to=3, context=b"read"),
        ReadIndex(sender=3, to=3, context=b"read"),
    ]
    network.send(*requests)
    assert network[2].read_states == [ReadState(2, b"read")]
    assert network[3].read_states == [ReadState(2, b"read")]


@pytest.mark.parametrize("campaigns", [False, True])
def test_without_a_leader_a_read_is_dropped(campaigns: bool) -> None:
    server = Server(1)
    if campaigns:
        server.core.campaign()
        server.read()
    server.core.read_index(b"read")
    assert server.read() == []
    assert server.read_states == []
    assert server.core.raft.drops == {"no leader to ask for a read index": 1}


def test_a_deposed_leader_forgets_the_reads_it_has_not_confirmed() -> None:
    server = Server(1)
    server.lead()
    server.core.read_index(b"read")
    server.read()
    server.step(Heartbeat(sender=2, to=1, term=2))
    assert not server.core.raft.reads.is_waiting
    server.read()
    server.elect()
    server.step(HeartbeatReply(sender=2, to=1, term=3, read_sequence=99))
    assert server.read_states == []


def test_lease_reads_cannot_be_configured_without_check_quorum() -> None:
    with pytest.raises(ValueError, match="lease-based reads need check_quorum"):
        Server(1, read_only=ReadOnly.LEASE, check_quorum=False)
