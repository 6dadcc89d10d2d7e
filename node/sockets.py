"""All the sockets of one node, bound together or not at all.

The loop owns `peers` and `clients`; the status server and the snapshot sockets have threads of
their own and reach the loop through its inbox only.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import zmq

from metastore.node.door import Door
from metastore.node.identity import Identity
from metastore.node.security import NodeSecurity
from metastore.node.settings import Settings
from metastore.node.snapshots import Received
from metastore.node.status import StatusBoard
from metastore.node.wake import WakeQueue
from metastore.transport.addresses import parse_bind_address
from metastore.transport.chunks import SnapshotReceiver, SnapshotSender
from metastore.transport.clients import ClientServer
from metastore.transport.peers import PeerTransport
from metastore.transport.security import CLIENT_DOMAIN, STATUS_DOMAIN
from metastore.transport.status import StatusServer


@dataclass(frozen=True, slots=True)
class ThreadDied:
    """To the loop: a thread that serves a socket has ended by itself; the node must stop."""

    name: str
    error: BaseException

    def exception(self) -> Exception:
        """For the loop to raise: a SystemExit of a thread must not pass for an end in order."""
        if isinstance(self.error, Exception):
            return self.error
        return RuntimeError(f"the thread {self.name!r} ended with {self.error!r}")


Prepare: TypeAlias = Callable[[int, dict[str, Any], Path], None]

RECEIVED_FOLDER = "received"  # under the data directory: snapshots on their way in


@dataclass(frozen=True, slots=True)
class Sockets:
    peers: PeerTransport
    clients: ClientServer
    status_server: StatusServer
    sender: SnapshotSender
    receiver: SnapshotReceiver
    door: Door

    def pollables(self) -> list[Any]:
        return [*self.peers.pollables(), *self.clients.pollables()]

    def with_ports(self, addresses: Sequence[str]) -> tuple[str, str, str, str]:
        """The peer, client, status and snapshot address to tell others; where the port was left to
        the system, the one that was bound."""
        bound = [part.address for part in (self.peers, self.clients, self.status_server)]
        told = zip(addresses, [*bound, self.receiver.address], strict=True)
        peer, client, status, snapshot = (
            at if parse_bind_address(address).port == 0 else address for address, at in told
        )
        return peer, client, status, snapshot

    def close(self) -> None:
        for part in (self.status_server, self.sender, self.receiver, self.clients, self.peers):
            part.close()
        self.door.close()


def _reporting_death(inbox: WakeQueue[Any], name: str) -> Callable[[BaseException], None]:
    return lambda error: inbox.put(ThreadDied(name, error))


def _receiver(
    settings: Settings,
    who: tuple[int, int, int, int],
    context: zmq.Context[Any],
    inbox: WakeQueue[Any],
    prepare: Prepare,
    door: Door,
) -> SnapshotReceiver:
    return SnapshotReceiver(
        *who,
        settings.snapshot_bind,
        settings.data_dir / RECEIVED_FOLDER,
        lambda sender, facts: True,  # the core judges it when it is there
        prepare,
        lambda sender, facts, path: inbox.put(Received(sender, facts, path)),
        context,
        _reporting_death(inbox, "snapshot receiver"),
        security=door.for_peers(),
    )


def bind_sockets(
    settings: Settings,
    identity: Identity,
    context: zmq.Context[Any],
    inbox: WakeQueue[Any],
    board: StatusBoard,
    prepare: Prepare,
    security: NodeSecurity | None,
) -> Sockets:
    """Raises BindFailed or BadAddress, with everything closed again, `context` and `inbox` too.
    Nobody is a peer yet."""
    who = (identity.cluster_id, identity.node_id, identity.directory_id, identity.incarnation)

    died = functools.partial(_reporting_death, inbox)
    with contextlib.ExitStack() as undo:
        undo.callback(inbox.close)  # after every thread that reports through it
        undo.callback(context.term)
        # Before any socket listens: without it nobody would be let in.
        door = Door(context, security, died("keys"))
        undo.callback(door.close)
        peers = PeerTransport(*who, settings.peer_bind, context, security=door.for_peers())
        undo.callback(peers.close)
        clients = ClientServer(settings.client_bind, context, door.curve(CLIENT_DOMAIN))
        undo.callback(clients.close)
        status_server = StatusServer(
            settings.status_bind, board.answer, context, died("status"), door.curve(STATUS_DOMAIN)
        )
        undo.callback(status_server.close)
        receiver = _receiver(settings, who, context, inbox, prepare, door)
        undo.callback(receiver.close)
        sender = SnapshotSender(*who, context, security=door.for_peers())
        door.start()
        undo.pop_all()
    return Sockets(peers, clients, status_server, sender, receiver, door)
