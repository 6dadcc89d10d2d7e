"""All the sockets of one node, bound together or not at all.

The loop owns `peers` and `clients`; the status server and the snapshot sockets have threads of
their own and reach the loop through its inbox only.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import zmq

from metastore.node.identity import Identity
from metastore.node.settings import Settings
from metastore.node.snapshots import Received
from metastore.node.status import StatusBoard
from metastore.node.wake import WakeQueue
from metastore.transport.chunks import SnapshotReceiver, SnapshotSender
from metastore.transport.clients import ClientServer
from metastore.transport.peers import PeerTransport
from metastore.transport.status import StatusServer


@dataclass(frozen=True, slots=True)
class ThreadDied:
    """To the loop: a thread that serves a socket has ended by itself; the node must stop."""

    name: str
    error: BaseException


Prepare: TypeAlias = Callable[[int, dict[str, Any], Path], None]

RECEIVED_FOLDER = "received"  # under the data directory: snapshots on their way in


@dataclass(frozen=True, slots=True)
class Sockets:
    peers: PeerTransport
    clients: ClientServer
    status_server: StatusServer
    sender: SnapshotSender
    receiver: SnapshotReceiver

    def pollables(self) -> list[Any]:
        return [*self.peers.pollables(), *self.clients.pollables()]

    def close(self) -> None:
        for part in (self.status_server, self.sender, self.receiver, self.clients, self.peers):
            part.close()


def bind_sockets(
    settings: Settings,
    identity: Identity,
    context: zmq.Context[Any],
    inbox: WakeQueue[Any],
    board: StatusBoard,
    prepare: Prepare,
) -> Sockets:
    """Raises BindFailed or BadAddress, with everything closed again."""
    who = (identity.cluster_id, identity.node_id, identity.incarnation)
    others = {m.node_id: m.peer for m in settings.members if m.node_id != settings.node_id}
    with contextlib.ExitStack() as undo:
        undo.callback(context.term)
        peers = PeerTransport(*who, settings.peer_bind, others, context)
        undo.callback(peers.close)
        clients = ClientServer(settings.client_bind, context)
        undo.callback(clients.close)
        status_server = StatusServer(
            settings.status_bind,
            board.answer,
            context,
            lambda error: inbox.put(ThreadDied("status", error)),
        )
        undo.callback(status_server.close)
        receiver = SnapshotReceiver(
            *who,
            settings.snapshot_bind,
            settings.data_dir / RECEIVED_FOLDER,
            lambda sender, facts: sender in others,
            prepare,
            lambda sender, facts, path: inbox.put(Received(sender, facts, path)),
            context,
            lambda error: inbox.put(ThreadDied("snapshot receiver", error)),
        )
        undo.callback(receiver.close)
        sender = SnapshotSender(*who, context)
        undo.pop_all()
    return Sockets(peers, clients, status_server, sender, receiver)
