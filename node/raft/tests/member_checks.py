"""What must be true of a cluster whose members change, asked after every step. No test is in here.

Election safety, log matching, leader completeness, state-machine safety, commit indexes and terms
that never go back, one configuration per applied index, and quorums that meet.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations

from member_server import MemberServer

from metastore.node.raft.configuration import Configuration
from metastore.node.raft.model import Entry, EntryType
from metastore.node.raft.quorum import VoteResult, joint_vote
from metastore.node.raft.storage import Compacted

# What Broken says when two lead or decide apart.
LOST = r"both lead|without committed entry|was committed as"


class Broken(AssertionError):
    """A property of Raft does not hold; the text says which and where."""


def check(condition: bool, sentence: str) -> None:
    if not condition:
        raise Broken(sentence)


@lru_cache(maxsize=10_000)
def quorums_meet(one: Configuration, other: Configuration) -> bool:
    """Whether every quorum of one shares a node with every quorum of the other."""
    nodes = sorted(one.all_voters | other.all_voters)
    for count in range(len(nodes) + 1):
        for chosen in combinations(nodes, count):
            rest = [node for node in nodes if node not in chosen]
            if _is_quorum(one, chosen) and _is_quorum(other, rest):
                return False
    return True


def _is_quorum(configuration: Configuration, nodes: Iterable[int]) -> bool:
    votes = dict.fromkeys(configuration.all_voters, False) | dict.fromkeys(nodes, True)
    result = joint_vote(configuration.voters, configuration.voters_outgoing, votes)
    return bool(configuration.voters) and result is VoteResult.WON


class Checks:
    """A Watcher. Witnesses hold no data, so theirs is not compared."""

    def __init__(self, witnesses: Iterable[int] = ()) -> None:
        self._witnesses = frozenset(witnesses)
        self.leaders: dict[int, int] = {}  # by term
        self.committed: dict[int, tuple[Entry, int]] = {}  # with the term it was first seen in
        self._entries: dict[tuple[int, int], tuple[EntryType, bytes, int]] = {}
        self._configurations: dict[int, str] = {}  # by applied index
        self.changes_of_one_log_max = 0  # uncommitted ones
        self.are_configurations_compared = True  # not when the harm they do shall be seen

    # What a member tells of itself

    def wrote(self, server: MemberServer, entries: tuple[Entry, ...]) -> None:
        """Log matching: an index and a term name one entry, and what stands before it."""
        for entry in entries:
            previous = server.core.raft.log.term_or_zero(entry.index - 1)
            found = (entry.type, self._seen_by(server, entry), previous)
            known = self._entries.setdefault((entry.index, entry.term), found)
            matches = known == found or (server.id in self._witnesses and known[2] == previous)
            check(matches, f"two entries {entry.index} of term {entry.term}")

    def _seen_by(self, server: MemberServer, entry: Entry) -> bytes:
        if server.id not in self._witnesses or entry.type is not EntryType.NORMAL:
            return entry.data
        known = self._entries.get((entry.index, entry.term))
        return entry.data if known is None else known[1]

    def applied(self, server: MemberServer, entry: Entry) -> None:
        """The same entries lead to the same configuration."""
        if not self.are_configurations_compared:
            return
        known = self._configurations.setdefault(entry.index, server.members)
        check(
            known == server.members,
            f"at index {entry.index} node {server.id} has {server.members}, another had {known}",
        )

    # What is seen from outside

    def observe(self, server: MemberServer) -> None:
        """After anything that happened to it."""
        raft = server.core.raft
        check(raft.term >= server.term_seen, f"the term of node {server.id} went back")
        check(raft.log.commit_index >= server.commit_seen, f"node {server.id} uncommitted")
        self._note_committed(server)
        if server.leads and self.leaders.get(raft.term) != server.id:
            self._note_leader(server)
        server.term_seen, server.commit_seen = raft.term, raft.log.commit_index

    def _note_leader(self, server: MemberServer) -> None:
        term, log = server.core.term, server.core.raft.log
        known = self.leaders.setdefault(term, server.id)
        check(known == server.id, f"nodes {known} and {server.id} both lead in term {term}")
        for index, (entry, committed_in) in self.committed.items():
            if committed_in < term and index >= log.first_index:
                check(
                    log.match_term(index, entry.term),
                    f"node {server.id} leads in term {term} without committed entry {index}",
                )

    def _note_committed(self, server: MemberServer) -> None:
        log, term = server.core.raft.log, server.core.term
        low = max(server.commit_seen + 1, log.first_index)
        if low > log.commit_index:
            return
        try:
            entries = log.slice(low, log.commit_index + 1)
        except Compacted:  # pragma: no cover - first_index was asked
            return
        for entry in entries:
            known, _ = self.committed.setdefault(entry.index, (entry, term))
            is_same = (known.term, known.type) == (entry.term, entry.type)
            is_data = entry.type is EntryType.NORMAL and server.id in self._witnesses
            check(
                is_same and (is_data or known.data == entry.data),
                f"entry {entry.index} was committed as {known} and on node {server.id} as {entry}",
            )

    def compare(self, servers: Iterable[MemberServer]) -> None:
        """After every step: members that are equally far; and changes wait for each other."""
        by_commit: dict[int, Configuration] = {}
        for server in servers:
            raft = server.core.raft
            configuration = raft.configuration
            if not configuration.voters or not self.are_configurations_compared:
                continue
            other = by_commit.setdefault(raft.log.commit_index, configuration)
            check(
                quorums_meet(configuration, other),
                f"at commit index {raft.log.commit_index} {configuration} and {other} can decide "
                "without each other",
            )

    def count_changes(self, server: MemberServer) -> None:
        """How many changes stand uncommitted in one log."""
        kinds = [entry.type for entry in server.uncommitted()]
        count = len(kinds) - kinds.count(EntryType.NORMAL)
        self.changes_of_one_log_max = max(self.changes_of_one_log_max, count)
