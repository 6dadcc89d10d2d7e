"""A network of the test's own: hosts in network namespaces, joined by a switch in this process.

Each host has an address of its own on a TUN device whose packets this process carries, so a test
can cut one direction of a link, lose a share of the packets or delay them, without any help from
the kernel's traffic control. Needs root, `ip netns` and /dev/net/tun; `why_not` says what is
missing. Losses are drawn from a seed.
"""

import contextlib
import ctypes
import fcntl
import functools
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import zmq

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_TUN = "/dev/net/tun"
_PACKET_BYTES_MAX = 65_536
_DESTINATION = slice(16, 20)  # of an IPv4 header
_SUBNET = bytes((10, 77, 0))
_QUEUED_MAX = 20_000  # packets under way; a switch that is slower than that loses them

T = TypeVar("T")
_names = itertools.count(1)


@functools.cache
def why_not() -> str:
    """Why no such network can be made here; "" if it can. Tries it once."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` command (Debian: iproute2)"
    try:
        Network(1).close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here: {error}"
    return ""


class Network:
    """Hosts 1 to `count`, each at `address(host)`. Everything is healthy at first."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._cut: set[tuple[int, int]] = set()
        self._delay_s = 0.0
        self._loss = 0.0
        self.carried_count = 0
        self.lost_count = 0
        self._names: dict[int, str] = {}
        self._tuns: dict[int, int] = {}
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._closing = False
        self._thread = threading.Thread(target=self._carry, name="network", daemon=True)
        try:
            for host in range(1, count + 1):
                self._add(host)
        except BaseException:
            self._remove_all()
            raise
        self._thread.start()

    def address(self, host: int) -> str:
        return ".".join(map(str, (*_SUBNET, host)))

    def command(self, host: int) -> list[str]:
        """What goes before a command that is to run on this host."""
        return ["ip", "netns", "exec", self._names[host]]

    def context(self, host: int) -> "zmq.Context[zmq.Socket[bytes]]":
        """A ZeroMQ context whose connections are made on this host, whoever uses it."""

        def make() -> "zmq.Context[zmq.Socket[bytes]]":
            context = zmq.Context()
            context.socket(zmq.REQ).close(0)  # with the first socket its I/O thread begins
            return context

        return self._on(host, make)

    # Faults

    def cut(self, sender: int, receiver: int) -> None:
        """One direction: nothing that the sender sends arrives any more."""
        self._cut.add((sender, receiver))

    def isolate(self, host: int) -> None:
        """Both directions, to and from everybody."""
        for other in self._names:
            if other != host:
                self.cut(host, other)
                self.cut(other, host)

    def heal(self) -> None:
        self._cut = set()

    def degrade(self, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Every packet takes between half of and one and a half of delay_s; `loss` is the share
        that is lost, from 0 to 1."""
        self._delay_s, self._loss = delay_s, loss

    # Inside

    def _add(self, host: int) -> None:
        name = f"ms-{os.getpid()}-{next(_names)}"
        _ip("netns", "add", name)
        self._names[host] = name
        self._tuns[host] = self._on(host, _open_tun)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "tun0")
        _ip("-n", name, "link", "set", "tun0", "up")

    def _on(self, host: int, function: Callable[[], T]) -> T:
        """Runs it in a thread that has moved to the host's namespace."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                _enter(self._names[host])
                results.append(function())
            except BaseException as error:  # handed to the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run, name=f"on-host-{host}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def _carry(self) -> None:
        hosts = {tun: host for host, tun in self._tuns.items()}
        poller = select.poll()
        for tun in hosts:
            poller.register(tun, select.POLLIN)
        while not self._closing:
            for tun, _ in poller.poll(self._wait_ms()):
                self._take(hosts[tun], tun)
            self._deliver()

    def _wait_ms(self) -> float:
        if not self._under_way:
            return 20.0  # to notice the end
        return max(0.0, (self._under_way[0][0] - time.monotonic()) * 1000)

    def _take(self, sender: int, tun: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(tun, _PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            destination = packet[_DESTINATION]
            receiver = destination[3] if destination[:3] == _SUBNET else 0
            if receiver not in self._tuns or packet[0] >> 4 != 4:
                continue  # neighbour discovery and the like
            is_lost = (sender, receiver) in self._cut or self._random.random() < self._loss
            if is_lost or len(self._under_way) >= _QUEUED_MAX:
                self.lost_count += 1
                continue
            delay_s = self._delay_s * (0.5 + self._random.random())
            due = time.monotonic() + delay_s
            heapq.heappush(self._under_way, (due, next(self._order), receiver, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, receiver, packet = heapq.heappop(self._under_way)
            with contextlib.suppress(OSError):  # a full device loses packets, as real ones do
                os.write(self._tuns[receiver], packet)
                self.carried_count += 1

    def close(self) -> None:
        """The namespaces are gone afterwards; end the processes in them first."""
        self._closing = True
        self._thread.join(10)
        self._remove_all()

    def _remove_all(self) -> None:
        for tun in self._tuns.values():
            os.close(tun)
        for name in self._names.values():
            _ip("netns", "del", name)
        self._tuns, self._names = {}, {}

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _enter(name: str) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter namespace {name}")
    finally:
        os.close(descriptor)


def _open_tun() -> int:
    tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(tun, _TUNSETIFF, request)
    except BaseException:
        os.close(tun)
        raise
    return tun
