"""One direction of a network link as a small TCP relay, so that a test can cut it between real
nodes, or between clients and a node.

Cutting closes the connections and refuses new ones until healed. A link can also lose the replies
only: what goes to the target arrives, what comes back vanishes. Nothing needs root.
"""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024


class Link:
    """Relays to `target_port`; connect to `port`. One thread."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_cut = False
        self._loses_replies = False
        self.lost_bytes = 0  # of replies
        self._near: set[socket.socket] = set()  # the ends of those who connected
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"link-{self.port}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for one in list(self._pairs):
                self._drop(one)

    def lose_replies(self) -> None:
        """From now on; the connections stay as if nothing were."""
        with self._lock:
            self._loses_replies, self.lost_bytes = True, 0

    def heal(self) -> None:
        """A connection that lost something is of no use any more, and ends."""
        with self._lock:
            was_losing, self._is_cut, self._loses_replies = self._loses_replies, False, False
            if was_losing:
                for one in list(self._pairs):
                    self._drop(one)

    def close(self) -> None:
        self._closing = True
        self._thread.join(5)
        self.cut()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._relay(key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listener.accept()
            if self._is_cut:
                near.close()
                return
            try:
                far = socket.create_connection((LOOPBACK, self._target_port), timeout=1)
            except OSError:
                near.close()
                return
            self._near.add(near)
            for one, other in ((near, far), (far, near)):
                one.setblocking(True)
                one.settimeout(1)
                self._pairs[one] = other
                self._selector.register(one, selectors.EVENT_READ)

    def _relay(self, source: socket.socket) -> None:
        target = self._pairs.get(source)
        if target is None:
            return
        try:
            data = source.recv(CHUNK_BYTES)
            if data:
                if self._loses_replies and source not in self._near:
                    self.lost_bytes += len(data)
                else:
                    target.sendall(data)
                return
        except OSError:
            pass
        self._drop(source)

    def _drop(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        for each in (one, other):
            if each is not None:
                self._pairs.pop(each, None)
                self._near.discard(each)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()


@contextlib.contextmanager
def links(targets: dict[tuple[int, int], int]) -> Iterator[dict[tuple[int, int], Link]]:
    """A link per (from, to), to the target's port; all closed at the end."""
    made = {pair: Link(port) for pair, port in targets.items()}
    try:
        yield made
    finally:
        for link in made.values():
            link.close()
