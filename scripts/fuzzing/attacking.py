"""The process that sends hostile traffic to one node, and how it is started, watched and ended.

A process of its own because libzmq ends it now and then: a socket that is closed while its node
closes the connection in the middle of one of its messages of many frames fails an assertion
(libzmq#3442). It is then started again, with the next seed.
"""

import dataclasses
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping

import zmq
from fuzzing.decoding import SCRIPTS, Finding, environment
from fuzzing.hostility import Context, Hostility

from metastore.transport.handshake import Header
from metastore.transport.security import CurveClient, Keys

_ACTS = struct.Struct("<Q")
_PAUSE_S = 0.002  # between two acts: the node is to be besieged, not the machine
_ABORTS_MAX = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What Hostility gets."""

    addresses: Mapping[str, str]
    cluster_id: int
    member: Header | None = None
    curve: CurveClient | None = None


class Attack:
    """Goes on from the constructor to `close`."""

    def __init__(self, plan: Plan, seed: str) -> None:
        self._plan = plan
        self._seed = seed
        self._descriptor = os.memfd_create("acts")
        os.ftruncate(self._descriptor, _ACTS.size)
        self._state = mmap.mmap(self._descriptor, _ACTS.size)
        self.aborts = 0
        self._child = self._start()

    @property
    def acts(self) -> int:
        return int(_ACTS.unpack(self._state[: _ACTS.size])[0])

    def check(self) -> None:
        """Starts it again if libzmq has ended it. Raises Finding if it ended by itself."""
        code = self._child.poll()
        if code is None:
            return
        if code != -signal.SIGABRT or self.aborts >= _ABORTS_MAX:
            raise Finding(f"the attacker itself ended with {code} after {self.acts} acts")
        self.aborts += 1
        self._child = self._start()

    def close(self) -> None:
        """Its connections end with it. Safe to call twice."""
        self._child.kill()
        self._child.wait()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _start(self) -> "subprocess.Popen[bytes]":
        descriptor = self._descriptor
        command = [sys.executable, str(SCRIPTS / "fuzzing" / "attacking.py"), str(descriptor)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.aborts else None,  # libzmq says the same again
            pass_fds=(descriptor,),
            env=environment(),
            start_new_session=True,
        )
        said = (dataclasses.asdict(self._plan), f"{self._seed}/{self.aborts}")
        child.stdin.write(json.dumps(said).encode())  # type: ignore[union-attr]
        child.stdin.close()  # type: ignore[union-attr]
        return child


def main() -> int:
    plan, seed = json.load(sys.stdin)
    member, curve = plan["member"], plan["curve"]
    context: Context = zmq.Context()
    hostility = Hostility(
        context,
        plan["addresses"],
        random.Random(seed),
        cluster_id=plan["cluster_id"],
        member=None if member is None else Header(*member),
        curve=None if curve is None else CurveClient(Keys(*curve[0]), curve[1]),
    )
    parent = os.getppid()
    with mmap.mmap(int(sys.argv[1]), _ACTS.size) as state:
        while os.getppid() == parent:
            hostility.act()
            state[:] = _ACTS.pack(_ACTS.unpack(state[: _ACTS.size])[0] + 1)
            time.sleep(_PAUSE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
