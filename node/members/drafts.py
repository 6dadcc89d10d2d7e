"""A change of the members in the making: what the record and Raft's configuration would become.

Above records.py; planning.py fills a draft, guards.py looks at it. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

from metastore.node.members.records import MemberRecord, Membership, encode_edits
from metastore.node.raft.model import Change, ChangeType, ConfigurationChange, Transition
from metastore.transport.member_ops import NO_SUCH_MEMBER
from metastore.transport.schema import Code


@dataclass(frozen=True, slots=True)
class Plan:
    """To be proposed. `leaves`: who is taken out of the configuration; a leader that is among them
    hands over first."""

    change: ConfigurationChange
    leaves: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is changed; `code` and `message` are the result. `may_pass`: a leader that has not
    been in office long enough to know who is alive cannot be sure of it."""

    code: Code
    message: str
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Everything is so already."""


class Refusal(Exception):
    """Ends the making of a plan. The message says what to do next."""

    def __init__(
        self, message: str, code: Code = Code.FAILED_PRECONDITION, *, may_pass: bool = False
    ) -> None:
        super().__init__(message)
        self.refused = Refused(code, message, may_pass)


class Draft:
    """`voters`, `put` and `removed` are as they would be in the end."""

    def __init__(self, membership: Membership, is_caught_up: Callable[[int], bool]) -> None:
        self.membership = membership
        self.is_caught_up = is_caught_up
        self.voters = set(membership.configuration.voters)
        self.put: dict[int, MemberRecord] = {}
        self.removed: list[int] = []
        # Whose places are believed, whoever else has them in the record.
        self.believed: set[int] = set()
        self._active = membership.active_ids
        self._raft_changes: list[Change] = []

    @property
    def is_joint(self) -> bool:
        """Whether the old voters would have a say beside the new ones."""
        return len(self._raft_changes) > 1

    def member(self, node_id: int) -> MemberRecord:
        """Raises Refusal for one that is not in the record."""
        found = self.membership.get(node_id)
        if found is None:
            is_removed = node_id in self.membership.removed
            more = "it was removed and cannot come back" if is_removed else "see `member list`"
            raise Refusal(f"{NO_SUCH_MEMBER}: {node_id}; {more}", Code.NOT_FOUND)
        return found

    def is_active(self, node_id: int) -> bool:
        """Whether it is in the configuration, not merely awaited."""
        return node_id in self._active

    def do(self, kind: ChangeType, node_id: int) -> None:
        """Changes the configuration."""
        self._raft_changes.append(Change(kind, node_id))
        if kind is ChangeType.ADD_VOTER:
            self.voters.add(node_id)
        elif kind is ChangeType.REMOVE:
            self.voters.discard(node_id)

    def members_after(self) -> dict[int, MemberRecord]:
        by_id = {member.node_id: member for member in self.membership.members} | self.put
        return {node_id: m for node_id, m in by_id.items() if node_id not in self.removed}

    def finish(self) -> Plan | Nothing:
        touched = [*self.put, *self.removed]
        if not self._raft_changes and not touched:
            return Nothing()
        # What is about the record alone is for Raft a change that changes nothing.
        changes = tuple(self._raft_changes) or (Change(ChangeType.UPDATE, touched[0]),)
        transition = Transition.JOINT_IMPLICIT if self.is_joint else Transition.AUTO
        context = encode_edits(self.put.values(), self.removed)
        leaves = [change.node_id for change in changes if change.type is ChangeType.REMOVE]
        return Plan(ConfigurationChange(changes, transition, context), frozenset(leaves))
