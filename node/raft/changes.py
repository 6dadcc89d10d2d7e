"""From one configuration to the next, one voter at a time or by a joint one (paper 6; thesis 4).

Stands on configuration.py; membership.py asks it. It computes new values from copies: a refused
change leaves no trace, and nothing is in force until the caller installs it.
"""

from collections.abc import Iterable

from metastore.node.raft.configuration import Configuration, is_same_state
from metastore.node.raft.model import (
    NO_NODE,
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Transition,
    invariant,
)
from metastore.node.raft.progress import Inflights, Progress

Outcome = tuple[Configuration, dict[int, Progress]]


class ChangeRefused(Exception):
    """The change cannot be made from this configuration; the text says why."""


class _Draft:
    """A configuration being edited, with its own copy of everything."""

    def __init__(self, configuration: Configuration, progress: dict[int, Progress]) -> None:
        self.voters = set(configuration.voters)
        self.outgoing = set(configuration.voters_outgoing)
        self.learners = set(configuration.learners)
        self.learners_next = set(configuration.learners_next)
        self.auto_leave = configuration.auto_leave
        self.progress = {node_id: peer.copy() for node_id, peer in progress.items()}

    def finish(self) -> Outcome:
        configuration = Configuration(
            frozenset(self.voters),
            frozenset(self.outgoing),
            frozenset(self.learners),
            frozenset(self.learners_next),
            self.auto_leave,
        )
        check_configuration(configuration, self.progress)
        return configuration, dict(sorted(self.progress.items()))


def check_configuration(configuration: Configuration, progress: dict[int, Progress]) -> None:
    """Raises RaftFailed unless the parts of a configuration fit each other and the progress map."""
    voters = configuration.all_voters
    for node_id in configuration.all_ids():
        invariant(node_id in progress, f"member {node_id:x} is not tracked")
    for node_id in configuration.learners_next:
        invariant(node_id in configuration.voters_outgoing, "a future learner is no outgoing voter")
        invariant(not progress[node_id].is_learner, "a future learner is tracked as one already")
    invariant(voters.isdisjoint(configuration.learners), "a voter is a learner too")
    for node_id in configuration.learners:
        invariant(progress[node_id].is_learner, f"learner {node_id:x} is not tracked as one")
    if not configuration.is_joint:
        invariant(not configuration.learners_next, "future learners outside a joint configuration")
        invariant(not configuration.auto_leave, "auto-leave outside a joint configuration")


class Changer:
    """Tries changes on one configuration. `last_index` is where new peers are probed first;
    `count_max` and `bytes_max` are the limits of their in-flight windows."""

    def __init__(
        self,
        configuration: Configuration,
        progress: dict[int, Progress],
        last_index: int,
        count_max: int,
        bytes_max: int = 0,
    ) -> None:
        self._configuration = configuration
        self._progress = progress
        self._last_index = last_index
        self._count_max = count_max
        self._bytes_max = bytes_max

    def make(self, change: ConfigurationChange) -> Outcome:
        """What the entry of a log asks for. Raises ChangeRefused."""
        if change.is_leave_joint:
            return self.leave_joint()
        if change.transition is not Transition.AUTO or len(change.changes) > 1:
            auto_leave = change.transition is not Transition.JOINT_EXPLICIT
            return self.enter_joint(auto_leave, change.changes)
        return self.simple(change.changes)

    def simple(self, changes: Iterable[Change]) -> Outcome:
        """Applies changes that alter at most one voter, so that old and new majorities overlap.
        Raises ChangeRefused."""
        if self._configuration.is_joint:
            raise ChangeRefused("can't apply simple config change in joint config")
        draft = self._draft()
        self._apply(draft, changes)
        if len(draft.voters ^ self._configuration.voters) > 1:
            raise ChangeRefused("more than one voter changed without entering joint config")
        return draft.finish()

    def enter_joint(self, auto_leave: bool, changes: Iterable[Change]) -> Outcome:
        """Applies any changes, the voters so far staying on as the outgoing half. Raises
        ChangeRefused."""
        if self._configuration.is_joint:
            raise ChangeRefused("config is already joint")
        if not self._configuration.voters:
            raise ChangeRefused("can't make a zero-voter config joint")
        draft = self._draft()
        draft.outgoing = set(draft.voters)
        self._apply(draft, changes)
        draft.auto_leave = auto_leave
        return draft.finish()

    def leave_joint(self) -> Outcome:
        """Drops the outgoing half. Raises ChangeRefused."""
        if not self._configuration.is_joint:
            raise ChangeRefused("can't leave a non-joint config")
        draft = self._draft()
        for node_id in draft.learners_next:
            draft.learners.add(node_id)
            draft.progress[node_id].is_learner = True
        for node_id in draft.outgoing - draft.voters - draft.learners:
            del draft.progress[node_id]
        draft.learners_next = set()
        draft.outgoing = set()
        draft.auto_leave = False
        return draft.finish()

    def _draft(self) -> _Draft:
        check_configuration(self._configuration, self._progress)
        return _Draft(self._configuration, self._progress)

    def _apply(self, draft: _Draft, changes: Iterable[Change]) -> None:
        for change in changes:
            # Id 0 is how a change is struck out of an entry that is committed already.
            if change.node_id == NO_NODE:
                continue
            if change.type is ChangeType.ADD_VOTER:
                self._make_voter(draft, change.node_id)
            elif change.type is ChangeType.ADD_LEARNER:
                self._make_learner(draft, change.node_id)
            elif change.type is ChangeType.REMOVE:
                self._remove(draft, change.node_id)
        if not draft.voters:
            raise ChangeRefused("removed all voters")

    def _make_voter(self, draft: _Draft, node_id: int) -> None:
        draft.voters.add(node_id)
        draft.learners.discard(node_id)
        draft.learners_next.discard(node_id)
        peer = draft.progress.setdefault(node_id, self._new_progress())
        peer.is_learner = False

    def _make_learner(self, draft: _Draft, node_id: int) -> None:
        peer = draft.progress.get(node_id) or self._new_progress()
        self._remove(draft, node_id)
        draft.progress[node_id] = peer
        # An outgoing voter has to vote until the joint configuration is left.
        if node_id in draft.outgoing:
            draft.learners_next.add(node_id)
        else:
            draft.learners.add(node_id)
            peer.is_learner = True

    def _remove(self, draft: _Draft, node_id: int) -> None:
        draft.voters.discard(node_id)
        draft.learners.discard(node_id)
        draft.learners_next.discard(node_id)
        if node_id not in draft.outgoing:
            draft.progress.pop(node_id, None)

    def _new_progress(self) -> Progress:
        # Active from the start, or CheckQuorum might depose the leader that just added the peer.
        # Probed at the last index, not behind it: the peer is likely to lack the last entry.
        return Progress(
            Inflights(self._count_max, self._bytes_max),
            next_index=max(self._last_index, 1),
            recently_active=True,
        )


def restore(
    state: ConfigurationState, last_index: int, count_max: int, bytes_max: int = 0
) -> Outcome:
    """The configuration that a snapshot or a restart gives, with fresh progress. Raises
    ChangeRefused for a state that no changes lead to."""

    def changes(kind: ChangeType, ids: Iterable[int]) -> list[Change]:
        return [Change(kind, node_id) for node_id in ids]

    def changer() -> Changer:
        return Changer(configuration, progress, last_index, count_max, bytes_max)

    configuration, progress = Configuration(), dict[int, Progress]()
    incoming = changes(ChangeType.ADD_VOTER, state.voters)
    incoming += changes(ChangeType.ADD_LEARNER, state.learners)
    incoming += changes(ChangeType.ADD_LEARNER, state.learners_next)
    if not state.voters_outgoing:
        for change in incoming:
            configuration, progress = changer().simple([change])
    else:
        # First the outgoing half as if it had always been, then the step into the joint one.
        for change in changes(ChangeType.ADD_VOTER, state.voters_outgoing):
            configuration, progress = changer().simple([change])
        incoming = changes(ChangeType.REMOVE, state.voters_outgoing) + incoming
        configuration, progress = changer().enter_joint(state.auto_leave, incoming)
    invariant(
        is_same_state(configuration.to_state(), state),
        "a restored configuration differs from its state",
    )
    return configuration, progress
