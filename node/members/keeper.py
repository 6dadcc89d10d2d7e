"""The keeper of the members on every node: it applies changes to the record, and on the leader it
takes requests for them, one at a time.

On the loop, above planning.py, promotion.py and handover.py. It decides nothing about members
itself. Everything asked of it may be asked again, so whoever waits when the leadership is lost is
sent on to the next leader: there is no unknown outcome here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from metastore.node.members.handover import (
    Answer,
    Handover,
    Refuse,
    moved_reply,
    nobody_can_lead,
    why_not_to,
)
from metastore.node.members.planning import Nothing, Plan, Refused, plan
from metastore.node.members.promotion import Promotion
from metastore.node.members.records import Membership, RecordDamaged, decode_edits
from metastore.node.proposals import Waiter
from metastore.node.raft.changes import ChangeRefused
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.model import NO_NODE, ConfigurationChange, Entry
from metastore.node.raft.model import Role as RaftRole
from metastore.node.raft.node import RaftCore
from metastore.transport import schema
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import (
    MEMBERS,
    MOVE_LEADER,
    Change,
    ChangeKind,
    decode_member_request,
)
from metastore.transport.schema import Code
from metastore.transport.shapes import MalformedRequest

BUSY = "another change of the members is under way, or this leader has only just been elected"
TOO_EARLY = "this leader has only just been elected and does not know yet who is alive"


@dataclass(slots=True)
class _Pending:
    """The change that this leader proposed, and who waits for it."""

    index: int
    term: int
    waiters: Sequence[Waiter]
    is_entered: bool = False  # applied; the joint configuration is still to be left


class MembersKeeper:
    """`membership` is as of the last applied entry. A request is answered once its change is
    applied and no joint configuration is in force."""

    def __init__(
        self,
        core: RaftCore,
        node_id: int,
        cluster_id: int,
        membership: Membership,
        *,
        answer: Answer,
        refuse: Refuse,
        on_change: Callable[[Membership], None],
        election_timeout_ticks: int,
    ) -> None:
        """`on_change` after every change of the record."""
        self.membership = membership
        self._core = core
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._answer = answer
        self._refuse = refuse
        self._on_change = on_change
        self._timeout_ticks = election_timeout_ticks
        self._promotion = Promotion(core, election_timeout_ticks)
        self._handover = Handover(core, answer, refuse, election_timeout_ticks)
        self._pending: _Pending | None = None
        self._tick = 0
        self._heard: dict[int, int] = {}  # tick by node
        self._term_led = 0
        self._led_since = 0  # tick
        self._farewell_ticks = 0

    # What the loop asks and tells

    @property
    def was_removed(self) -> bool:
        """Whether this node has to stop. One that led when it was removed stays an election timeout
        longer: only from it do the others know that its removal is committed."""
        return self._node_id in self.membership.removed and self._farewell_ticks <= 0

    def heard(self, node_id: int) -> None:
        """A message of a peer has come. Called for each one."""
        self._heard[node_id] = self._tick

    def list_reply(self) -> bytes:
        """The results of MEMBERS, and of every change that is done."""
        infos = self.membership.infos()
        return schema.encode_results(
            [(int(Code.OK), self._core.leader_id, self._cluster_id, self.membership.index, infos)]
        )

    def on_tick(self) -> None:
        self._tick += 1
        self._farewell_ticks = max(0, self._farewell_ticks - 1)
        self._handover.on_tick(self._tick)
        leads = self._core.term if self._core.role is RaftRole.LEADER else 0
        if leads != self._term_led:
            self._term_led, self._led_since = leads, self._tick
        if self._pending is not None and leads != self._pending.term:
            self._refuse_pending(ErrorCode.NOT_LEADER, "this node no longer leads")
        self.on_applied(self._core.last_applied)
        if leads and not self._is_busy:
            self._do_by_itself()

    def give_up(self, reason: str, *, is_final: bool = False) -> None:
        """This node no longer leads or, if `is_final`, stops. Who waits for a handover goes on
        waiting unless it stops: the loss of the leadership is what they asked for."""
        code = ErrorCode.UNAVAILABLE if is_final else ErrorCode.NOT_LEADER
        self._refuse_pending(code, reason)
        if is_final:
            self._handover.give_up(reason)

    # Requests

    def request(self, waiter: Waiter, data: bytes) -> None:
        """A MEMBER_CHANGE or MOVE_LEADER; ends as an answer or a refusal, perhaps later."""
        try:
            request = decode_member_request(data)
        except MalformedRequest as error:
            self._refuse([waiter], ErrorCode.INVALID, str(error))
            return
        if request.operation == MEMBERS:
            self._refuse([waiter], ErrorCode.INVALID, "a list of the members is a read")
        elif self._core.role is not RaftRole.LEADER:
            self._refuse_not_leader([waiter])
        elif request.operation == MOVE_LEADER and request.target == self._node_id:
            self._answer([waiter], [moved_reply(self._node_id)])
        elif self._is_busy:
            self._refuse([waiter], ErrorCode.UNAVAILABLE, BUSY)
        elif request.operation == MOVE_LEADER:
            self._move(waiter, request.target)
        else:
            self._change(waiter, request.changes, is_forced=request.is_forced)

    @property
    def _is_busy(self) -> bool:
        """Also as long as a change of an earlier leader may be unapplied: the record that a plan
        starts from would be old."""
        core = self._core
        return self._pending is not None or self._handover.is_running or not core.may_propose_change

    def _change(self, waiter: Waiter, changes: Sequence[Change], *, is_forced: bool) -> None:
        match self._plan(changes, is_forced=is_forced):
            case Nothing():
                self._answer([waiter], [self.list_reply()])
            case Refused() as refused:
                self._answer_refused(waiter, refused)
            case Plan() as made if self._node_id in made.leaves:
                self._hand_over_first(waiter)
            case Plan() as made:
                self._propose(made, [waiter])

    def _plan(
        self, changes: Sequence[Change], *, is_forced: bool = False
    ) -> Plan | Refused | Nothing:
        alive = self.alive()
        return plan(
            self.membership,
            changes,
            own_id=self._node_id,
            alive=alive,
            is_caught_up=partial(self._promotion.is_caught_up, self.membership, alive),
            is_forced=is_forced,
        )

    def _propose(self, made: Plan, waiters: Sequence[Waiter]) -> None:
        try:
            self._core.propose_change(made.change)
        except ProposalDropped:
            self._refuse(waiters, ErrorCode.UNAVAILABLE, "the leader takes no proposals right now")
        else:
            self._pending = _Pending(self._core.last_index, self._core.term, waiters)

    def _hand_over_first(self, waiter: Waiter) -> None:
        """A leader takes out anybody but itself."""
        successor = self._promotion.successor_or_none(self.membership, self.alive())
        if successor is None:
            self._answer_refused(waiter, nobody_can_lead(self._node_id))
        else:
            self._handover.start(successor, self._tick, askers=[waiter])

    def _answer_refused(self, waiter: Waiter, refused: Refused) -> None:
        is_new = self._term_led != self._core.term
        if refused.may_pass and (is_new or self._tick - self._led_since < self._timeout_ticks):
            self._refuse([waiter], ErrorCode.UNAVAILABLE, TOO_EARLY)
            return
        self._answer([waiter], [schema.encode_results([(int(refused.code), refused.message)])])

    def alive(self) -> set[int]:
        """This node, and whoever was heard within an election timeout."""
        since = self._tick - self._timeout_ticks
        return {node_id for node_id, tick in self._heard.items() if tick >= since} | {self._node_id}

    def _move(self, waiter: Waiter, wanted: int) -> None:
        alive = self.alive()
        target, refused = wanted, why_not_to(wanted, self.membership, alive)
        if wanted == NO_NODE:
            found = self._promotion.successor_or_none(self.membership, alive)
            target, refused = (found, None) if found else (wanted, nobody_can_lead(self._node_id))
        if refused is not None:
            self._answer_refused(waiter, refused)
        else:
            self._handover.start(target, self._tick, wanted=wanted, movers=[waiter])

    def _do_by_itself(self) -> None:
        alive = self.alive()
        for node_id in self._promotion.joining(self.membership):
            made = self._plan([(ChangeKind.PROMOTE, node_id)])
            if isinstance(made, Plan):
                self._propose(made, ())
                return
        if self._tick - self._led_since < self._timeout_ticks:
            return
        preferred = self._promotion.preferred_or_none(self.membership, alive, self._tick)
        if preferred is not None:
            self._handover.start(preferred, self._tick)

    # Entries and snapshots

    def on_entry(self, entry: Entry) -> bytes:
        """Applies a committed entry that holds a change, and gives the encoded record after it. One
        that cannot be made leaves everything as it is, on every node alike."""
        was_leader = self._core.role is RaftRole.LEADER
        refused = ""
        try:
            change = ConfigurationChange.decode(entry.data)
            put, removed = decode_edits(change.context)
            configuration = self._core.apply_change(change)
        except (ValueError, RecordDamaged, ChangeRefused) as error:
            refused = f"metastore: the change could not be made: {error}"
        else:
            changed = self.membership.changed(
                configuration, put=put, removed=removed, index=entry.index
            )
            self._take(changed, was_leader)
        self._settle(entry, refused)
        return self.membership.encode()

    def on_installed(self, encoded: bytes) -> None:
        """A snapshot replaced the state. Raises RecordDamaged."""
        self._take(Membership.decode(encoded), was_leader=False)

    def on_applied(self, last_applied: int) -> None:
        """Everything up to there is applied. A proposal that turned out to be no change was emptied
        by the core, or overwritten by another leader."""
        pending = self._pending
        if pending is not None and not pending.is_entered and last_applied >= pending.index:
            self._refuse_pending(ErrorCode.UNAVAILABLE, BUSY)

    def _take(self, membership: Membership, was_leader: bool) -> None:
        if self._node_id in membership.removed and was_leader:
            self._farewell_ticks = self._timeout_ticks
        self.membership = membership
        self._on_change(membership)

    def _settle(self, entry: Entry, refused: str) -> None:
        """After an applied change: whether it ends the one that waits."""
        pending = self._pending
        if pending is None or entry.index < pending.index:
            return
        if not pending.is_entered and (entry.index, entry.term) != (pending.index, pending.term):
            self._refuse_pending(ErrorCode.NOT_LEADER, "another leader's change took its place")
            return
        pending.is_entered = True
        if refused:
            waiters, self._pending = pending.waiters, None
            reply = schema.encode_results([(int(Code.FAILED_PRECONDITION), refused)])
            self._answer(waiters, [reply] * len(waiters))
        elif not self.membership.configuration.voters_outgoing:
            waiters, self._pending = pending.waiters, None
            self._answer(waiters, [self.list_reply()] * len(waiters))

    def _refuse_pending(self, code: ErrorCode, reason: str) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and pending.waiters:
            self._refuse(pending.waiters, code, reason)

    def _refuse_not_leader(self, waiters: Sequence[Waiter]) -> None:
        known = self._core.leader_id
        where = f"node {known} leads" if known != NO_NODE else "no leader is known"
        self._refuse(waiters, ErrorCode.NOT_LEADER, f"this node does not lead; {where}")
