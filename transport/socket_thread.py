"""A thread that serves one socket (or a few) until it is told to stop, and never dies unseen.

Reading order 8, below status.py and chunks.py, which have one each. Owns the socket from the start
on and closes it at the end; knows nothing of what is said on it.
"""

import threading
from collections.abc import Callable, Sequence

import zmq

from metastore.transport.sockets import Context, Socket, close_router, inproc_address

Died = Callable[[BaseException], None]
"""Called once, from the thread, when something ended it that should not have."""


def _forever() -> int | None:
    return None


def _nothing() -> None:
    return


class SocketThread:
    """`serve` runs whenever the socket (or one of `also`) has something and whenever `wait_ms()`
    have passed (None: only then); `finish` runs at the end, before the sockets close. All of it on
    the thread, which is running once `start` was called. The other calls belong to one other
    thread; with `leaves_open` it closes the sockets, once the thread has ended."""

    def __init__(
        self,
        context: Context,
        socket: Socket,
        name: str,
        serve: Callable[[], None],
        died: Died,
        *,
        wait_ms: Callable[[], int | None] = _forever,
        finish: Callable[[], None] = _nothing,
        also: Sequence[Socket] = (),
        leaves_open: bool = False,
    ) -> None:
        self._sockets = (socket, *also)
        self._leaves_open = leaves_open
        self._serve = serve
        self._died = died
        self._wait_ms = wait_ms
        self._finish = finish
        endpoint = inproc_address(f"{name}-stop")
        self._stop_receiver = context.socket(zmq.PAIR)
        self._stop_receiver.bind(endpoint)
        self._stop_sender = context.socket(zmq.PAIR)
        self._stop_sender.connect(endpoint)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops the thread and waits for it. Safe to call twice."""
        if self._thread.is_alive():
            self._stop_sender.send(b"")
            self._thread.join()
        self._stop_sender.close(0)

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        poller.register(self._stop_receiver, zmq.POLLIN)
        try:
            try:
                while self._stop_receiver not in dict(poller.poll(self._wait_ms())):
                    self._serve()
            finally:
                self._finish()
                for socket in () if self._leaves_open else self._sockets:
                    close_router(socket)
                self._stop_receiver.close(0)
        except BaseException as error:  # a node without this thread would only look healthy
            self._died(error)
