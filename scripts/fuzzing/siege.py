"""Nodes under hostile traffic while a well-behaved client goes on, and what must hold meanwhile and
at the end: they live, in the same term, with no more memory or descriptors than before.

Starts no node: scripts/fuzz and integration/test_fuzz.py bring theirs.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import zmq
from fuzzing.attacking import Attack, Plan
from fuzzing.decoding import Finding
from fuzzing.hostility import Context, set_curve

from metastore.transport import envelope, schema
from metastore.transport.handshake import Header
from metastore.transport.security import CurveClient

WARM_UP = 0.3  # of the time
GROWTH_MIB_MAX = 64.0  # of a node after its warm-up
DESCRIPTORS_MORE_MAX = 8
CHECK_EVERY_S = 0.05
ANSWER_S_MAX = 20.0
# Data and log do not grow beyond what the acceptable part of the traffic makes of them.
NODE_OPTIONS = ("--auto-compact-revisions", "1000", "--snapshot-entries", "5000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A node under siege. `client`, with keys: those of the well-behaved one; `stranger`: of the
    other. `is_alone`: the only node of its cluster, so nothing may raise its term."""

    name: str
    pid: int
    cluster_id: int
    addresses: Mapping[str, str]
    member: Header | None = None
    client: CurveClient | None = None
    stranger: CurveClient | None = None
    is_alone: bool = True


class _Asking:
    """The well-behaved client of one node: a socket for requests, one for the status."""

    def __init__(self, context: Context, target: Target) -> None:
        self._target = target
        self._context = context
        self._number = 0
        self._client = self._connected(zmq.DEALER, "client")
        self._exchange(envelope.encode_hello(1, target.cluster_id))
        self._wait_for_leader()

    def close(self) -> None:
        self._client.close(0)

    def check(self) -> None:
        """Writes and reads what was written, in one request: others write and delete as well."""
        self._number += 1
        key, value = b"good/%d" % (self._number % 50), b"%d" % self._number
        request = schema.encode_request((schema.put(key, value), schema.range_(key)))
        frame = envelope.encode_request_frame(self._number + 1, 0, request)
        answer = self._exchange(frame)
        if not self._target.is_alone and isinstance(answer, envelope.Error):
            return  # it leads no more, or not yet
        if not isinstance(answer, envelope.Results):
            raise Finding(f"{self._target.name}: a good request was answered with {answer!r}")
        put, found = schema.decode_results(answer.results)
        if (put[0], found[0]) != (schema.Code.OK, schema.Code.OK) or found[2][0][1] != value:
            raise Finding(f"{self._target.name}: wrote {value!r} and read {found!r}")

    def _wait_for_leader(self) -> None:
        frame = envelope.encode_request_frame(1, 0, schema.encode_request((schema.range_(b"a"),)))
        deadline = time.monotonic() + ANSWER_S_MAX
        while not isinstance(answer := self._exchange(frame), envelope.Results):
            if time.monotonic() > deadline:
                raise Finding(f"{self._target.name} did not start: {answer!r}")
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        request = self._connected(zmq.REQ, "status")
        try:
            request.send(msgpack.packb({"method": "status"}))
            return dict(msgpack.unpackb(self._answer(request), strict_map_key=False))
        finally:
            request.close(0)

    def _connected(self, kind: int, name: str) -> "zmq.Socket[bytes]":
        made = self._context.socket(kind)
        made.linger = 0
        if self._target.client is not None:
            set_curve(made, self._target.client)
        made.connect(self._target.addresses[name])
        return made

    def _exchange(self, frame: bytes) -> Any:
        self._client.send(frame)
        return envelope.decode_node_frame(self._answer(self._client))

    def _answer(self, asked: "zmq.Socket[bytes]") -> bytes:
        if not asked.poll(int(ANSWER_S_MAX * 1000)):
            is_there = "lives" if is_alive(self._target.pid) else "is gone"
            raise Finding(f"{self._target.name}: no answer in {ANSWER_S_MAX:.0f} s; it {is_there}")
        return asked.recv()


class _Besieged:
    """One node, its attacker, and what it was like before."""

    def __init__(self, context: Context, target: Target, seed: int) -> None:
        self._target = target
        self._asking = _Asking(context, target)
        self._asking.check()
        self._before = self._asking.status()
        self._descriptors = descriptors(target.pid)
        self._memory_mib: float | None = None
        plan = Plan(
            addresses=target.addresses,
            cluster_id=target.cluster_id,
            member=target.member,
            curve=target.stranger,
        )
        self.attack = Attack(plan, f"{seed}/{target.name}")

    def go_on(self) -> None:
        self.attack.check()
        if not is_alive(self._target.pid):
            raise Finding(f"{self._target.name} is gone")
        self._asking.check()

    def has_warmed_up(self) -> None:
        self._memory_mib = memory_mib(self._target.pid)

    def check_end(self) -> None:
        name, pid, before = self._target.name, self._target.pid, self._before
        self.attack.close()
        self._asking.check()
        status = self._asking.status()
        if self._target.is_alone and status["term"] != before["term"]:
            raise Finding(f"{name}: term {before['term']} became {status['term']}")
        if refused(status) <= refused(before):
            raise Finding(f"{name} counted nothing of {self.attack.acts} hostile acts")
        if self._memory_mib is not None:
            grown = memory_mib(pid) - self._memory_mib
            if grown > GROWTH_MIB_MAX:
                raise Finding(f"{name} grew by {grown:.0f} MiB after its warm-up")
        self._check_descriptors()

    def _check_descriptors(self) -> None:
        deadline = time.monotonic() + ANSWER_S_MAX
        while (now := descriptors(self._target.pid)) > self._descriptors + DESCRIPTORS_MORE_MAX:
            if time.monotonic() > deadline:
                before, kinds = self._descriptors, descriptor_kinds(self._target.pid)
                raise Finding(f"{self._target.name}: {before} descriptors became {now}: {kinds}")
            time.sleep(0.1)

    def close(self) -> None:
        self.attack.close()
        self._asking.close()


def besiege(
    targets: Sequence[Target],
    seconds: float,
    seed: int,
    told: Callable[[int], None] = lambda acts: None,
) -> int:
    """How many hostile acts there were. Raises Finding."""
    context: Context = zmq.Context()
    besieged: list[_Besieged] = []
    try:
        besieged.extend(_Besieged(context, target, seed) for target in targets)
        started, is_warm = time.monotonic(), False
        while (passed := time.monotonic() - started) < seconds:
            for one in besieged:
                one.go_on()
            time.sleep(CHECK_EVERY_S)
            if not is_warm and passed > WARM_UP * seconds:
                is_warm = True
                for one in besieged:
                    one.has_warmed_up()
            told(sum(one.attack.acts for one in besieged))
        for one in besieged:
            one.check_end()
        return sum(one.attack.acts for one in besieged)
    finally:
        for one in besieged:
            one.close()
        context.destroy(0)


def refused(status: Mapping[str, Any]) -> int:
    """Everything that a node counted beside its work."""
    words = ("malformed", "refused", "dropped", "unknown")
    counters: Mapping[str, int] = status["counters"]
    return sum(count for name, count in counters.items() if any(word in name for word in words))


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def memory_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def descriptor_kinds(pid: int) -> dict[str, int]:
    """How many there are to each kind of thing, or to each file."""
    names: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            names[os.readlink(entry).partition(":")[0]] += 1
    return dict(names)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
