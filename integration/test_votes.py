"""One vote a term, whatever happens between the vote and the next request (A1, PySyncObj#202).

The test is the two other members of a cluster of three; the node under test is a real process that
is killed before and after every step its disk takes for the vote, and loses what was not synced.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import zmq
from lost_power import faults_that_note_syncs, lose_power
from node_processes import BOTH_ENGINES, NodeProcesses, eventually

from metastore.node.codec import decode_messages, encode_messages
from metastore.node.raft.messages import RequestVote, RequestVoteReply
from metastore.node.settings_values import parse_cluster_id
from metastore.transport.peers import PeerTransport

VOTER = 2
TERM = 7
STEPS_MAX = 20
NEVER_ALONE = ("--election-timeout-ms", "600000", "--heartbeat-ms", "1000")  # never a candidate

pytestmark = [pytest.mark.timeout(180), BOTH_ENGINES]


class Candidate:
    """A member that asks for votes, and counts what it was granted."""

    def __init__(self, cluster: NodeProcesses, node_id: int) -> None:
        self.node_id = node_id
        bind = cluster.address(node_id, "peer")
        cluster_id = parse_cluster_id(cluster.folder.name)
        self._transport = PeerTransport(
            cluster_id, node_id, node_id, 1, bind, zmq.Context.instance()
        )
        self._transport.set_members({VOTER: [cluster.address(VOTER, "peer")]}, {VOTER: 0}, ())
        self.close = self._transport.close

    def ask(self, cluster: NodeProcesses) -> bool | None:
        """Whether the vote was granted; None when the voter died over it."""
        request = RequestVote(
            to=VOTER, sender=self.node_id, term=TERM, last_log_index=100, last_log_term=TERM - 1
        )

        def asked() -> list[bool | None]:
            self._transport.send(VOTER, encode_messages([request]))
            replies = [
                message
                for sender, payload in self._transport.drain(100)
                for message in decode_messages(payload, sender)
                if isinstance(message, RequestVoteReply) and message.term >= TERM
            ]
            if replies:
                return [any(not reply.rejected for reply in replies)]
            return [None] if cluster.has_ended(VOTER) else []

        return eventually(f"node {VOTER} answers {self.node_id} or dies", asked)[0]


@contextmanager
def candidates(cluster: NodeProcesses) -> Iterator[tuple[Candidate, Candidate]]:
    with closing(Candidate(cluster, 1)) as first, closing(Candidate(cluster, 3)) as second:
        yield first, second


def crash(cluster: NodeProcesses) -> None:
    if cluster.has_ended(VOTER):
        cluster.wait_gone(VOTER)
    else:
        cluster.kill(VOTER)
    lose_power(cluster.data_dir(VOTER), cluster.engine)


def votes_over_crashes(cluster: NodeProcesses, fault: str) -> tuple[set[int], bool]:
    """Who was granted the vote of one term; and whether the fault came before the first reply."""
    notes = faults_that_note_syncs(cluster.data_dir(VOTER))
    cluster.faults[VOTER] = [*notes, fault]
    granted = set()
    with candidates(cluster) as (first, second):
        cluster.start(VOTER)
        answer = first.ask(cluster)
        for granter, candidate in ((answer, first), (None, second), (None, first)):
            if candidate is not first or granter is None:
                crash(cluster)
                cluster.faults[VOTER] = notes
                cluster.start(VOTER)
                granter = candidate.ask(cluster)
            if granter:
                granted.add(candidate.node_id)
        crash(cluster)
    return granted, answer is None


def test_a_vote_survives_a_crash_at_every_step_of_its_way(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    kills = 0
    for when in ("kill-before", "kill-after"):
        for step in range(1, STEPS_MAX):
            cluster = make_cluster(3, NEVER_ALONE)
            granted, died = votes_over_crashes(cluster, f"{when}@any:{step}")
            assert len(granted) == 1, f"{when} step {step}: voted for {granted} in one term"
            kills += died
            if not died:
                break
    assert kills >= 4  # before and after the write and the sync


def test_a_vote_that_is_never_synced_is_given_twice_and_seen(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, (*NEVER_ALONE, "--sync", "never"))
    granted, _ = votes_over_crashes(cluster, "lie@any:1")
    assert granted == {1, 3}
