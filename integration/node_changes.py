"""What can be broken in a node, or taken away from it, by name: for tests only (H2, H3, H7).

`faulty_node.py --change NAME` makes one of these before the node starts. A broken part raises at
the first thing it has to do; a line that is taken away is one whose absence a test must notice.
"""

from collections.abc import Callable
from typing import Any

import zmq

from metastore.engines.memory.store import MemoryStore
from metastore.node.disk import DiskThread
from metastore.node.loop import NodeLoop
from metastore.node.members.registration import Registrar
from metastore.node.requests import Desk
from metastore.node.upkeep import Upkeep
from metastore.transport import links, socket_thread
from metastore.transport.chunks import SnapshotReceiver
from metastore.transport.handshake_watch import HandshakeWatch
from metastore.transport.status import StatusServer
from metastore.transport.zap import ZapHandler


def _breaking(owner: Any, method: str) -> Callable[[], None]:
    def out_of_order(*_: object, **__: object) -> None:
        raise RuntimeError(f"{owner.__name__}.{method} is out of order")

    return lambda: setattr(owner, method, out_of_order)


# Where a node works: each must end it. Those with keys come last.
BROKEN: dict[str, Callable[[], None]] = {
    "loop": _breaking(NodeLoop, "_take_clients"),
    "timer": _breaking(Upkeep, "on_tick"),
    "handler": _breaking(Desk, "request"),
    "apply": _breaking(MemoryStore, "apply"),
    "disk": _breaking(DiskThread, "_perform"),
    "registration": _breaking(Registrar, "_register"),
    "status": _breaking(StatusServer, "_serve_one"),
    "snapshot receiver": _breaking(SnapshotReceiver, "_serve"),
    "keys": _breaking(ZapHandler, "_serve"),
    "handshakes": _breaking(HandshakeWatch, "_serve"),
}


def _hoard() -> None:
    """Messages for a peer that is not connected wait in the queue."""
    open_dealer = links.open_dealer

    def hoarding(*args: Any, prepare: Callable[[Any], None], **options: Any) -> Any:
        def prepare_to_hoard(socket: Any) -> None:
            socket.setsockopt(zmq.IMMEDIATE, 0)
            prepare(socket)

        return open_dealer(*args, prepare=prepare_to_hoard, **options)

    links.open_dealer = hoarding


def _die_unseen() -> None:
    """The end of a thread is told to nobody."""
    init = socket_thread.SocketThread.__init__

    def without_report(thread: Any, *args: Any, **options: Any) -> None:
        context, socket, name, serve, _, *rest = args
        init(thread, context, socket, name, serve, lambda error: None, *rest, **options)

    socket_thread.SocketThread.__init__ = without_report  # type: ignore[method-assign]


WITHOUT = {"without IMMEDIATE": _hoard, "without a report of deaths": _die_unseen}
CHANGES = BROKEN | WITHOUT
