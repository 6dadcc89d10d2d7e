"""Registration: a node tells the cluster who and where it is, at its start and whenever in doubt.

A thread of its own, which talks to the loop through `report` only: while the node waits to be let
in it must go on listening. It asks as a client does, going where the answers point to, until the
leader has accepted this node or refused it for good. Decides nothing about membership itself.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import zmq

from metastore.node import logs
from metastore.node.identity_errors import JoinRefused
from metastore.node.members.conversation import Conversation
from metastore.node.members.joining import Registered as Registered
from metastore.node.members.joining import (
    decode_answer_or_none,
    encode_join,
    final_error_or_none,
    shortened,
)
from metastore.node.members.records import MemberRecord
from metastore.node.wake import WakeQueue
from metastore.transport.envelope import Error, ErrorCode, Results, Welcome
from metastore.transport.errors import BadAddress
from metastore.transport.security import CurveClient
from metastore.transport.sockets import Context, Socket

PAUSE_S = 0.05  # after the first round; twice as long after each further one
PAUSE_S_MAX = 1.0
PATIENCE_S = 0.25  # for somebody to answer at an address, in the first round; doubled likewise
PATIENCE_S_MAX = 2.0
DECISION_S_MAX = 3.0  # for a leader to have the change committed
QUIET_ROUNDS = 2  # while a cluster starts, nobody leads yet; that is no news
ADDRESSES_MAX = 64  # asked in one round, and learned from one answer
REASONS_MAX = 16  # remembered, so as to log each once
CLOSE_S = 2.0

NOBODY_ANSWERS = "nobody answers"
# The commonest reasons, all of which look the same from here.
_ADVICE = "see that they run, and that these are clients' addresses, with keys if it has any"
ONLY_FOREIGN = (
    "no node of this cluster answers; correct join, or cluster_id and take an empty data_dir"
)

# Somebody else's node listens there, which says nothing of ours.
_FOREIGN = (ErrorCode.WRONG_CLUSTER, ErrorCode.WRONG_VERSION)


@dataclass(frozen=True, slots=True)
class RefusedForGood:
    """Asking again cannot help: RemovedFromCluster, LostData or JoinRefused."""

    error: Exception


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """Ask there; "" if who answered does not know where."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class _NotNow:
    reason: str
    is_foreign: bool = False


class _Itself:
    """This node listens there, and knows no more than that nobody has let it in."""


Outcome: TypeAlias = Registered | RefusedForGood | _Elsewhere | _NotNow | _Itself


class _Stopped(Exception):
    """`close` was called; leaves whatever the thread was doing."""


class Registrar:
    """`ask` and `close` belong to the loop's thread. `addresses` and `curves` are called from this
    one's, before each round; `report` gets Registered or RefusedForGood, once per registration;
    `died` hears of an error that ended the thread."""

    def __init__(
        self,
        context: Context,
        cluster_id: int,
        own: MemberRecord,
        addresses: Callable[[], Sequence[str]],
        report: Callable[[Registered | RefusedForGood], None],
        died: Callable[[BaseException], None],
        *,
        curves: Callable[[], Sequence[CurveClient]] | None = None,
    ) -> None:
        """`own`: with this node's directory_id and the addresses that others shall use. `curves`:
        for each key that a node may have, how to talk to it; None where nothing is encrypted."""
        self._context = context
        self._cluster_id = cluster_id
        self._own = own
        self._addresses = addresses
        self._report = report
        self._died = died
        self._curves = curves
        self._request = encode_join(own)
        self._learned: dict[int, str] = {}  # clients' addresses, by node
        self._leader_id = 0
        self._fitting: CurveClient | None = None  # the last one that was answered
        self._told: set[str] = set()  # reasons that were logged
        self._log = logs.get_logger(node_id=own.node_id)
        self._inbox: WakeQueue[bool] = WakeQueue()  # True: register; False: stop
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def ask(self) -> None:
        """Registers, from the beginning; while that is under way already, nothing is added."""
        self._inbox.put(True)
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Ends the thread, whatever it waits for, and with it its sockets. Safe to call twice."""
        self._inbox.put(False)
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._inbox.close()

    def _run(self) -> None:
        try:
            while True:
                self._sleep(None)
                self._report(self._register())
        except _Stopped:
            return
        except BaseException as error:  # a node without this thread might wait for ever
            self._died(error)

    def _register(self) -> Registered | RefusedForGood:
        self._told.clear()
        pause_s, patience_s, rounds = PAUSE_S, PATIENCE_S, 0
        while True:
            outcome = self._round(patience_s)
            if isinstance(outcome, Registered | RefusedForGood):
                return outcome
            rounds += 1
            if rounds > QUIET_ROUNDS:
                self._tell(outcome)
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
            patience_s = min(2 * patience_s, PATIENCE_S_MAX)

    def _round(self, patience_s: float) -> Registered | RefusedForGood | str:
        """Asks everybody once, going where the answers point to; at last, why nobody helped."""
        waiting = deque(self._candidates())
        asked: dict[str, _Elsewhere | _NotNow | _Itself] = {}
        while waiting and len(asked) < ADDRESSES_MAX:
            address = waiting.popleft()
            if address in asked:
                continue
            outcome = self._ask_at(address, patience_s)
            if isinstance(outcome, Registered | RefusedForGood):
                return outcome
            asked[address] = outcome
            if isinstance(outcome, _Elsewhere) and outcome.address:
                waiting.appendleft(outcome.address)
        others = {address: o for address, o in asked.items() if not isinstance(o, _Itself)}
        reasons = _summary({address: outcome.reason for address, outcome in others.items()})
        # One stranger at an address that was ours once is passed over; if there are only strangers,
        # the settings are wrong.
        if others and all(isinstance(o, _NotNow) and o.is_foreign for o in others.values()):
            return RefusedForGood(JoinRefused(f"{ONLY_FOREIGN} (they say: {reasons})"))
        return reasons

    def _candidates(self) -> list[str]:
        """Whom to ask, the leader first if we know it; every address once."""
        leader = self._learned.get(self._leader_id, "")
        known = [leader, *self._addresses(), *self._learned.values()]
        return [address for address in dict.fromkeys(known) if address]

    def _ask_at(self, address: str, patience_s: float) -> Outcome:
        for curve in self._curves_in_turn():
            try:
                with Conversation(self._context, address, curve, self._wait) as conversation:
                    greeting = conversation.greet(self._cluster_id, patience_s)
                    if greeting is None:
                        continue  # with this key
                    self._fitting = curve
                    if isinstance(greeting, Error):
                        return self._on_error(greeting)
                    return self._on_welcome(greeting, conversation)
            except BadAddress:
                return _NotNow("nobody can connect to such an address")
        return _NotNow(NOBODY_ANSWERS)

    def _curves_in_turn(self) -> list[CurveClient | None]:
        if self._curves is None:
            return [None]
        curves: list[CurveClient | None] = list(self._curves())
        return sorted(curves, key=lambda curve: curve != self._fitting)

    def _on_welcome(self, welcome: Welcome, conversation: Conversation) -> Outcome:
        if welcome.cluster_id != self._cluster_id:
            return _NotNow(f"a node of cluster {welcome.cluster_id} answers", is_foreign=True)
        self._learned = {m.node_id: m.client for m in welcome.members[:ADDRESSES_MAX] if m.client}
        self._leader_id = welcome.leader_id
        if welcome.leader_id not in (0, welcome.node_id) and welcome.leader_id in self._learned:
            return self._elsewhere(welcome.leader_id)
        if self._own.node_id == welcome.node_id != welcome.leader_id:
            return _Itself()
        answer = conversation.request(self._request, DECISION_S_MAX)
        if answer is None:
            return _NotNow("it did not answer the registration")
        return self._on_error(answer) if isinstance(answer, Error) else self._on_results(answer)

    def _on_error(self, error: Error) -> Outcome:
        if error.code == ErrorCode.NOT_LEADER:
            return self._elsewhere(error.leader_id)
        text = shortened(error.message or error.code)
        if error.code == ErrorCode.INVALID:
            return RefusedForGood(JoinRefused(text))
        return _NotNow(text, is_foreign=error.code in _FOREIGN)

    def _elsewhere(self, leader_id: int) -> Outcome:
        self._leader_id = leader_id
        reason = f"node {leader_id} leads" if leader_id else "nobody leads"
        return _Elsewhere(self._learned.get(leader_id, ""), reason)

    def _on_results(self, results: Results) -> Outcome:
        answer = decode_answer_or_none(results.results)
        if answer is None:
            return _NotNow("its answer makes no sense")
        if isinstance(answer, Registered):
            return answer
        error = final_error_or_none(*answer, self._own.node_id)
        return _NotNow(shortened(answer[1])) if error is None else RefusedForGood(error)

    def _tell(self, reason: str) -> None:
        if reason not in self._told and len(self._told) < REASONS_MAX:
            self._told.add(reason)
            advice = {"advice": _ADVICE} if NOBODY_ANSWERS in reason else {}
            self._log.warning("waiting to register with the cluster", reason=reason, **advice)

    def _sleep(self, seconds: float | None) -> None:
        """None: until `ask` is called. Raises _Stopped."""
        self._poll(zmq.Poller(), seconds)

    def _wait(self, socket: Socket, events: int, seconds: float) -> bool:
        """Whether the socket is ready in time. Raises _Stopped."""
        poller = zmq.Poller()
        poller.register(socket, events)
        return self._poll(poller, seconds)

    def _poll(self, poller: zmq.Poller, seconds: float | None) -> bool:
        """Calls of `ask` end a wait without end, and shorten no other."""
        until = None if seconds is None else time.monotonic() + seconds
        inbox = self._inbox.fileno()
        poller.register(inbox, zmq.POLLIN)
        while True:
            left_s = None if until is None else until - time.monotonic()
            ready = dict(poller.poll(None if left_s is None else max(0, int(left_s * 1000) + 1)))
            if ready.pop(inbox, 0):
                if not all(self._inbox.drain()):
                    raise _Stopped
                if left_s is None:
                    return False
            if ready:
                return True
            if left_s is not None and left_s <= 0:
                return False


def _summary(reasons: Mapping[str, str]) -> str:
    """Addresses by what is wrong with them: nobody answers at A, B; nobody leads at C."""
    if not reasons:
        return "no address of the cluster is known; start the node with --join ADDRESS"
    places: dict[str, list[str]] = {}
    for address, reason in reasons.items():
        places.setdefault(reason, []).append(address)
    return "; ".join(f"{reason} at {', '.join(found)}" for reason, found in places.items())
