"""The turn: send what is queued, wait for sockets, take in the answers; done by the callers'
threads.

Reading order 11 of the client. There is no thread of its own that could die unseen. Of the threads
that wait, one drives the sockets for all; when its own call is done it hands over to another.
Threads that only add calls wake the driving one through a pipe. All state is changed under one
lock, which is let go of while the driving thread waits for the sockets.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import zmq

from metastore.client.calls import Call
from metastore.client.connection import Connection
from metastore.client.discovery import Discovery
from metastore.client.errors import ClientMisused, MetastoreError, Unavailable
from metastore.client.routing import Router
from metastore.client.security import ClientSecurity
from metastore.client.streams import Batch, Stream

SWEEP_S = 0.05  # between two looks for what has waited too long
PARKED_POLL_S = 0.01  # while calls wait for a leader or for a pause to end

Predicate = Callable[[], bool]


class Driver:
    """Shared by all threads of one client. Every method may be called from any thread."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        discovery: Discovery,
        security: ClientSecurity | None = None,
    ) -> None:
        self._router = Router(context, discovery, security)
        self._lock = threading.Lock()
        self._waiting: dict[threading.Condition, Predicate] = {}
        self._is_driven = False
        self._is_closed = False  # no new calls
        self._is_ended = False  # no sockets any more
        self._process_id = os.getpid()
        self._waking = threading.Lock()  # the pipe is not written to once it is closed
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = zmq.Poller()
        self._polled_changes_count = -1
        self._swept_at = self._turned_at = time.monotonic()

    def submit(self, calls: Iterable[Call]) -> None:
        """Hands calls over; they leave at the next turn. Raises ClientMisused."""
        self.check_process()
        with self._lock:
            self._check_open()
            self._router.parked.extend(calls)
            self._wake_driver()

    def pump(self) -> None:
        """One turn without waiting, unless another thread drives anyway."""
        self.check_process()
        with self._lock:
            self._check_open()
            if not self._is_driven:
                self._drive_once(0.0)

    def wait(self, is_done: Predicate, deadline: float, *, asks: bool = False) -> bool:
        """Drives, or waits for the thread that does, until `is_done` (called under the lock) or the
        deadline (seconds of time.monotonic()). `asks`: keeps greeting the nodes meanwhile."""
        self.check_process()
        with self._lock:
            while not is_done():
                if self._is_ended:
                    self._check_open()
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return False
                if asks and not self._is_closed:
                    self._router.nodes.ask_everyone(time.monotonic())
                # Closing: nobody begins to drive any more; every call is about to be ended.
                if self._is_driven or self._is_closed:
                    self._wait_for_driver(
                        is_done, min(remaining_s, SWEEP_S if asks else remaining_s)
                    )
                else:
                    self._drive_once(min(remaining_s, SWEEP_S))
        return True

    # Watches

    def open_stream(self, stream: Stream) -> None:
        """It begins at the next turn. Raises ClientMisused."""
        self.check_process()
        with self._lock:
            self._check_open()
            self._router.watching.add(stream)
            self._wake_driver()

    def close_stream(self, *streams: Stream) -> None:
        """Nothing of them arrives any more; whoever waits for one is woken. Closing twice is
        fine."""
        self.check_process()
        with self._lock:
            for stream in streams:
                if not stream.is_closed and not self._is_closed:
                    self._router.watching.remove(stream)
                stream.is_closed = True
            if not self._is_closed:
                self._let_leave()

    def take_batch(self, stream: Stream) -> Batch | None:
        """What has arrived first, if anything has."""
        with self._lock:
            batch = self._router.watching.take(stream)
            if batch is not None and not self._is_closed:
                # What was taken makes room for more: the node must hear of it even from a reader
                # that never has to wait.
                self._let_leave()
            return batch

    def ask_progress(self, *streams: Stream) -> None:
        self.check_process()
        with self._lock:
            self._check_open()
            for stream in streams:
                self._router.watching.ask_progress(stream)
            self._let_leave()

    def lend(
        self, streams: Iterable[Stream]
    ) -> list[tuple[Stream, Sequence[Batch], MetastoreError | None]]:
        """What has arrived of each, and its error after that; what is lent is to be given back."""
        with self._lock:
            return [(stream, *self._router.watching.lend(stream)) for stream in streams]

    def give_back(self, counts: Iterable[tuple[Stream, int]]) -> None:
        """So many batches of each are done with."""
        with self._lock:
            if self._is_closed:
                return
            for stream, count in counts:
                self._router.watching.give_back(stream, count)
            self._let_leave()

    def _let_leave(self) -> None:
        """What was just queued leaves now, whoever drives, and even if nobody does."""
        if self._is_driven:
            self._wake_driver()
        else:
            self._drive_once(0.0)

    def close(self) -> None:
        """Ends every call under way with an error. Closing twice is fine; after a fork it is the
        parent's to close, and nothing happens here."""
        if os.getpid() != self._process_id:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            # The driving thread is inside poll() with these sockets: it must leave first.
            while self._is_driven:
                self._wake_driver()
                self._wait_for_driver(lambda: not self._is_driven, SWEEP_S)
            self._router.close(Unavailable("the client was closed before the request was served"))
            with self._waking:
                self._is_ended = True
                os.close(self._wake_reader)
                os.close(self._wake_writer)
            for condition in self._waiting:
                condition.notify()

    def wake(self) -> None:
        """Ends the waiting of the thread that drives, or that is just about to. Never waits for
        that thread."""
        with self._waking, contextlib.suppress(BlockingIOError):  # full of wakes: it will wake
            if not self._is_ended:
                os.write(self._wake_writer, b"\0")

    def check_process(self) -> None:
        """Raises ClientMisused in a process forked from the one that made the client."""
        # A copy of a lock or a socket of the parent's would hang or mix two processes' messages.
        if os.getpid() != self._process_id:
            raise ClientMisused("this client was made before a fork; make a new one in the child")

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientMisused("the client is closed; make a new one")

    def _wake_driver(self) -> None:
        if self._is_driven:
            self.wake()

    def _wait_for_driver(self, is_done: Predicate, timeout_s: float) -> None:
        condition = threading.Condition(self._lock)
        self._waiting[condition] = is_done
        try:
            condition.wait(timeout_s)
        finally:
            del self._waiting[condition]

    def _drive_once(self, timeout_s: float) -> None:
        """One turn, with the lock held except while polling."""
        self._is_driven = True
        try:
            self._turn(timeout_s)
        finally:
            self._is_driven = False
            # Whoever is done may go; and somebody who is not must take over the driving.
            successor: threading.Condition | None = None
            for condition, is_done in self._waiting.items():
                if is_done():
                    condition.notify()
                elif successor is None:
                    successor = condition
            if successor is not None:
                successor.notify()

    def _turn(self, timeout_s: float) -> None:
        router = self._router
        now = time.monotonic()
        if now - self._turned_at > SWEEP_S:
            # Nobody drove for a while: answers may lie here, and must count before any time-out
            # does.
            self._receive(list(router.nodes.connections.values()), now)
        router.route(now)
        if now - self._swept_at > SWEEP_S:
            router.sweep(now)
            self._swept_at = now
        is_parked = bool(router.parked) or router.watching.is_unsettled
        ready = self._poll(min(timeout_s, PARKED_POLL_S) if is_parked else timeout_s)
        now = self._turned_at = time.monotonic()
        self._receive(ready, now)
        router.send()  # the thread that was woken for it may be the last one to drive
        if router.parked or now - self._swept_at > SWEEP_S:
            router.sweep(now)
            self._swept_at = now

    def _receive(self, connections: list[Connection], now: float) -> None:
        for connection in connections:
            if not connection.is_closed:
                self._router.receive(connection, now)

    def _poll(self, timeout_s: float) -> list[Connection]:
        self._watch_sockets()
        by_socket = self._by_socket
        self._lock.release()
        try:
            events = self._poller.poll(max(0, round(timeout_s * 1000 + 0.5)) if timeout_s else 0)
        finally:
            self._lock.acquire()
        ready: dict[Connection, None] = {}
        for socket, _ in events:
            if socket == self._wake_reader:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_reader, 4096)
            else:
                ready[by_socket[socket]] = None
        return list(ready)

    def _watch_sockets(self) -> None:
        nodes = self._router.nodes
        if self._polled_changes_count != nodes.changes_count:
            self._polled_changes_count = nodes.changes_count
            self._poller = zmq.Poller()
            self._poller.register(self._wake_reader, zmq.POLLIN)
            self._by_socket: dict[object, Connection] = {}
            for connection in nodes.connections.values():
                for socket in (connection.socket, connection.monitor):
                    self._poller.register(socket, zmq.POLLIN)
                    self._by_socket[socket] = connection
        for connection in nodes.connections.values():
            if connection.is_blocked:
                self._poller.modify(connection.socket, zmq.POLLIN | zmq.POLLOUT)
            else:
                self._poller.modify(connection.socket, zmq.POLLIN)
