"""Who votes and who listens, and the leader's view of each of them (paper 6; thesis 4).

Stands on quorum.py and progress.py; changes.py computes new configurations, the core keeps one
Tracker. Nothing here decides when a configuration changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from metastore.node.raft.model import ConfigurationState
from metastore.node.raft.progress import Inflights, Progress
from metastore.node.raft.quorum import VoteResult, joint_commit, joint_vote

_NOBODY: frozenset[int] = frozenset()


def _hex(ids: Iterable[int]) -> str:
    return "(" + " ".join(f"{node_id:x}" for node_id in sorted(ids)) + ")"


@dataclass(frozen=True, slots=True)
class Configuration:
    """`voters_outgoing` is empty unless joint. Learners and voters are disjoint; `learners_next`
    are outgoing voters that become learners when the joint configuration is left."""

    voters: frozenset[int] = _NOBODY
    voters_outgoing: frozenset[int] = _NOBODY
    learners: frozenset[int] = _NOBODY
    learners_next: frozenset[int] = _NOBODY
    auto_leave: bool = False

    @property
    def is_joint(self) -> bool:
        return bool(self.voters_outgoing)

    @property
    def is_singleton(self) -> bool:
        """One voter, who needs nobody's consent."""
        return len(self.voters) == 1 and not self.voters_outgoing

    @property
    def all_voters(self) -> frozenset[int]:
        """Voters of either half."""
        return self.voters | self.voters_outgoing if self.voters_outgoing else self.voters

    def all_ids(self) -> tuple[int, ...]:
        """Everybody, ascending."""
        return tuple(sorted(self.all_voters | self.learners | self.learners_next))

    def to_state(self) -> ConfigurationState:
        """The form that snapshots carry."""
        return ConfigurationState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.voters_outgoing)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )

    def __str__(self) -> str:
        text = "voters=" + _hex(self.voters)
        if self.is_joint:
            text += "&&" + _hex(self.voters_outgoing)
        if self.learners:
            text += " learners=" + _hex(self.learners)
        if self.learners_next:
            text += " learners_next=" + _hex(self.learners_next)
        return text + (" autoleave" if self.auto_leave else "")


def is_same_state(one: ConfigurationState, other: ConfigurationState) -> bool:
    """Whether two states name the same nodes in the same parts, in whatever order."""

    def parts(state: ConfigurationState) -> tuple[list[int], list[int], list[int], list[int], bool]:
        return (
            sorted(state.voters),
            sorted(state.voters_outgoing),
            sorted(state.learners),
            sorted(state.learners_next),
            state.auto_leave,
        )

    return parts(one) == parts(other)


class Tracker:
    """The configuration in force, one Progress per member, and the votes of a running election.

    `progress` always iterates in ascending order of ids; replace it with `install` only."""

    __slots__ = ("bytes_max", "configuration", "count_max", "progress", "votes")

    def __init__(self, count_max: int, bytes_max: int = 0) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self.configuration = Configuration()
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}

    def new_inflights(self) -> Inflights:
        """An empty window with this node's limits."""
        return Inflights(self.count_max, self.bytes_max)

    def install(self, configuration: Configuration, progress: dict[int, Progress]) -> None:
        """Puts a configuration in force, as changes.py made it."""
        self.configuration = configuration
        self.progress = dict(sorted(progress.items()))

    @property
    def ids(self) -> tuple[int, ...]:
        """Everybody tracked, ascending."""
        return tuple(self.progress)

    def reset_votes(self) -> None:
        self.votes = {}

    def record_vote(self, node_id: int, granted: bool) -> None:
        """Notes a vote; only a node's first answer counts, a repeated one is a duplicate."""
        self.votes.setdefault(node_id, granted)

    def tally(self) -> tuple[int, int, VoteResult]:
        """(granted, rejected, what that decides), of current voters only."""
        configuration = self.configuration
        voters = configuration.all_voters
        cast = [granted for node_id, granted in self.votes.items() if node_id in voters]
        granted = sum(cast)
        result = joint_vote(configuration.voters, configuration.voters_outgoing, self.votes)
        return granted, len(cast) - granted, result

    def commit_index(self) -> int:
        """The highest index that a quorum holds, whatever its term."""
        configuration = self.configuration
        return joint_commit(configuration.voters, configuration.voters_outgoing, self._match)

    def _match(self, node_id: int) -> int | None:
        progress = self.progress.get(node_id)
        return None if progress is None else progress.match_index

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the last check. Learners keep nobody in office."""
        configuration = self.configuration
        active = {
            node_id: node_id in self.progress and self.progress[node_id].recently_active
            for node_id in configuration.all_voters
        }
        result = joint_vote(configuration.voters, configuration.voters_outgoing, active)
        return result is VoteResult.WON
