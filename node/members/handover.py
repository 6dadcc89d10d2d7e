"""Giving the leadership to another member, and telling who waits for that how it ended.

Beside promotion.py, which chooses; driven by keeper.py. Nothing is promised by Raft: the successor
may be too slow, or a third node may win.
"""

from collections.abc import Callable, Collection, Sequence

from metastore.node.members.drafts import Refused
from metastore.node.members.records import Membership
from metastore.node.proposals import Waiter
from metastore.node.raft.model import NO_NODE
from metastore.node.raft.model import Role as RaftRole
from metastore.node.raft.node import RaftCore
from metastore.transport import schema
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import NO_SUCH_MEMBER, Role
from metastore.transport.schema import Code

Answer = Callable[[Sequence[Waiter], Sequence[bytes]], None]
Refuse = Callable[[Sequence[Waiter], ErrorCode, str], None]

PATIENCE_TIMEOUTS = 2  # election timeouts; the core itself gives up after one


class Handover:
    """One at a time: `start`, then `on_tick` until it is no longer running."""

    def __init__(
        self, core: RaftCore, answer: Answer, refuse: Refuse, election_timeout_ticks: int
    ) -> None:
        self._core = core
        self._answer = answer
        self._refuse = refuse
        self._patience_ticks = PATIENCE_TIMEOUTS * election_timeout_ticks
        self._target = NO_NODE
        self._wanted = NO_NODE
        self._deadline = 0
        self._movers: Sequence[Waiter] = ()
        self._askers: Sequence[Waiter] = ()

    @property
    def is_running(self) -> bool:
        return self._target != NO_NODE

    def start(
        self,
        target: int,
        tick: int,
        *,
        wanted: int = NO_NODE,
        movers: Sequence[Waiter] = (),
        askers: Sequence[Waiter] = (),
    ) -> None:
        """`movers` want `wanted` to lead (NO_NODE: anybody else) and no more; `askers` want
        something that only the next leader can do."""
        self._target, self._wanted = target, wanted
        self._movers, self._askers = movers, askers
        self._deadline = tick + self._patience_ticks
        self._core.transfer_leadership(target)

    def on_tick(self, tick: int) -> None:
        """Settles it as soon as it is known who leads."""
        if not self.is_running:
            return
        leader = self._core.leader_id
        if self._core.role is RaftRole.LEADER:
            if self._core.transfer_target != self._target:
                self._on_failed()
        elif leader != NO_NODE:
            self._on_led(leader)
        elif tick >= self._deadline:
            self._on_nobody()

    def give_up(self, reason: str) -> None:
        """The node stops."""
        movers, askers = self._end()
        self._refuse([*movers, *askers], ErrorCode.UNAVAILABLE, reason)

    def _end(self) -> tuple[Sequence[Waiter], Sequence[Waiter]]:
        ended = self._movers, self._askers
        self._target, self._movers, self._askers = NO_NODE, (), ()
        return ended

    def _on_failed(self) -> None:
        sentence = (
            f"node {self._target} did not take over the leadership within an election timeout"
        )
        movers, askers = self._end()
        message = f"metastore: {sentence}; see that it runs and is reached, then try again"
        reply = schema.encode_results([(int(Code.FAILED_PRECONDITION), message)])
        self._answer(movers, [reply] * len(movers))
        self._refuse(askers, ErrorCode.UNAVAILABLE, sentence)

    def _on_led(self, leader: int) -> None:
        movers, askers = self._end()
        self._answer(movers, [moved_reply(leader)] * len(movers))
        self._refuse(askers, ErrorCode.NOT_LEADER, f"node {leader} leads now")

    def _on_nobody(self) -> None:
        anybody = self._wanted == NO_NODE
        movers, askers = self._end()
        if anybody:  # asking again would move it once more
            self._answer(movers, [moved_reply(NO_NODE)] * len(movers))
            movers = ()
        self._refuse([*movers, *askers], ErrorCode.NOT_LEADER, "nobody is known to lead yet")


def moved_reply(leader_id: int) -> bytes:
    return schema.encode_results([(int(Code.OK), leader_id)])


def nobody_can_lead(own_id: int) -> Refused:
    return Refused(
        Code.FAILED_PRECONDITION,
        f"metastore: node {own_id} leads and no other voter that holds data answers; start one "
        "first",
        may_pass=True,
    )


def why_not_to(node_id: int, membership: Membership, alive: Collection[int]) -> Refused | None:
    """Whether the node could take the leadership: None, or why it could not."""
    member = membership.get(node_id)
    if member is None:
        return Refused(Code.NOT_FOUND, f"{NO_SUCH_MEMBER}: {node_id}; see `member list`")
    may_pass = False
    if member.role == Role.WITNESS:
        sentence = "is a witness: it holds no data and cannot lead; choose a voter"
    elif node_id not in membership.configuration.voters:
        sentence = "does not vote and so cannot lead; promote it first"
    elif node_id not in alive:
        sentence, may_pass = "does not answer; start it first, or choose another one", True
    else:
        return None
    return Refused(Code.FAILED_PRECONDITION, f"metastore: node {node_id} {sentence}", may_pass)
