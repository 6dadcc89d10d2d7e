"""The door of a node: who is asked for a key, and the note of everybody who was sent away.

Made before the sockets and closed after them, by sockets.py. Without keys it stands open: nothing
is encrypted, and nobody is asked.
"""

from collections.abc import Callable
from typing import Any

import zmq

from metastore.node.security import NodeSecurity
from metastore.transport.handshake_watch import HandshakeWatch
from metastore.transport.peer_keys import PeerSecurity
from metastore.transport.security import CurveServer
from metastore.transport.zap import ZapHandler


class Door:
    """`died` hears of a thread that ended by itself."""

    def __init__(
        self,
        context: zmq.Context[Any],
        security: NodeSecurity | None,
        died: Callable[[BaseException], None],
    ) -> None:
        self._security = security
        self._zap: ZapHandler | None = None
        if security is not None:
            self._zap = ZapHandler(context, security.why_not, died)
        self._watch = HandshakeWatch(context, died)

    def curve(self, domain: str) -> CurveServer | None:
        """For a socket that listens to clients."""
        security = self._security
        return None if security is None else security.server(domain, self._watch.watch)

    def for_peers(self) -> PeerSecurity | None:
        security = self._security
        return None if security is None else security.for_peers(self._watch.watch)

    def start(self) -> None:
        """Once every socket listens."""
        self._watch.start()

    def counters(self) -> dict[str, Any]:
        """{socket: {reason: refused connections}}; a copy."""
        found: dict[str, Any] = {} if self._zap is None else self._zap.counters()
        for domain, reasons in self._watch.counters().items():
            found.setdefault(domain, {}).update(reasons)
        return found

    def close(self) -> None:
        """After the sockets that it watches. Safe to call twice."""
        self._watch.close()
        if self._zap is not None:
            self._zap.close()
