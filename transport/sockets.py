"""Making ZeroMQ sockets with the options that keep them honest.

Reading order 4. The one place where a socket option is set; why each is there stands beside it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import zmq

from metastore.transport import limits
from metastore.transport.addresses import parse_connect_address, resolve_bind_address
from metastore.transport.errors import BindFailed
from metastore.transport.security import CurveClient, CurveServer

Socket: TypeAlias = "zmq.Socket[bytes]"
Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

# As plain ints: combining pyzmq's enum flags costs a microsecond per frame, on the hot path.
NOBLOCK = int(zmq.NOBLOCK)
NOBLOCK_MORE = int(zmq.NOBLOCK) | int(zmq.SNDMORE)


_inproc_numbers = itertools.count()


def inproc_address(name: str) -> str:
    """An address inside this process that was never used: libzmq frees a closed one late, so an
    object's id, which Python reuses at once, would collide now and then."""
    return f"inproc://{name}-{next(_inproc_numbers)}"


def send_frames(socket: Socket, frames: Sequence[bytes]) -> None:
    """One message of these frames, at once or not at all. Raises zmq.Again, zmq.ZMQError."""
    send = socket.send
    for frame in frames[:-1]:
        send(frame, NOBLOCK_MORE)
    send(frames[-1], NOBLOCK)


def _set_common(
    socket: Socket, frame_bytes_max: int, send_max: int, receive_max: int, *, is_encrypted: bool
) -> None:
    socket.setsockopt(zmq.LINGER, 0)  # a close never waits for a dead peer (pyzmq#102)
    socket.setsockopt(zmq.SNDHWM, send_max)
    socket.setsockopt(zmq.RCVHWM, receive_max)
    # A larger frame closes the connection before its body is read into memory.
    overhead = limits.CURVE_OVERHEAD_BYTES if is_encrypted else 0  # libzmq measures the wire
    socket.setsockopt(zmq.MAXMSGSIZE, frame_bytes_max + overhead)
    socket.setsockopt(zmq.HANDSHAKE_IVL, limits.HANDSHAKE_TIMEOUT_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, limits.KEEPALIVE_IDLE_SECONDS)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, limits.KEEPALIVE_INTERVAL_SECONDS)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, limits.KEEPALIVE_COUNT)
    # Keepalive does not run while data is unacknowledged; this does, so that after a partition the
    # connection is a new one and not one in its longest backoff.
    socket.setsockopt(zmq.TCP_MAXRT, limits.UNACKNOWLEDGED_MS_MAX)


def _set_curve_server(socket: Socket, curve: CurveServer) -> None:
    socket.setsockopt(zmq.CURVE_SERVER, 1)  # from here on libzmq refuses who speaks in plaintext
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.keys.secret.encode("ascii"))
    # Who may come depends on the socket: a client's key opens the client socket only.
    socket.setsockopt(zmq.ZAP_DOMAIN, curve.domain.encode("ascii"))
    # Without it, a context that has no ZAP handler (any more) would let everybody in.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if curve.watch is not None:
        curve.watch(socket, curve.domain)


def set_curve_client(socket: Socket, curve: CurveClient) -> None:
    """Before it connects."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key.encode("ascii"))
    socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.keys.public.encode("ascii"))
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.keys.secret.encode("ascii"))


def open_router(
    context: Context,
    bind: str,
    *,
    frame_bytes_max: int,
    send_max: int,
    receive_max: int,
    curve: CurveServer | None = None,
    takes_over: bool = False,
) -> tuple[Socket, str]:
    """A listening ROUTER and the address it really has; close_router closes it. With `curve` it
    takes encrypted connections only. `takes_over`: who comes with the id of a connection that is
    still open gets its place, and what is sent to it; else nobody hears the newcomer.
    Raises BindFailed."""
    address = resolve_bind_address(bind)
    socket = context.socket(zmq.ROUTER)
    try:
        _set_common(socket, frame_bytes_max, send_max, receive_max, is_encrypted=curve is not None)
        # A message for nobody, or for a full queue, raises instead of vanishing (libzmq#2037).
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A restarted peer takes over from its dead connection (libzmq#2892).
        socket.setsockopt(zmq.ROUTER_HANDOVER, int(takes_over))
        # Of two connections with one id libzmq hears one; the other, once its queue is full, keeps
        # its descriptor though its client is gone. Heartbeats would end it, but their timer fails
        # an assertion of libzmq 4.3.5 (!_io_error) just then, and with it ends the node.
        socket.setsockopt(zmq.BACKLOG, limits.LISTEN_BACKLOG)
        socket.setsockopt(zmq.IPV6, int(address.is_ipv6))
        if curve is not None:
            _set_curve_server(socket, curve)
        socket.bind(str(address))
        return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    except zmq.ZMQError as error:
        close_router(socket)
        raise BindFailed(bind, error.strerror or str(error)) from None


def close_router(socket: Socket) -> None:
    """Never waits. Safe to call twice."""
    if socket.closed:
        return
    # Closing goes on in the background; an event of it that nobody takes any more would block
    # libzmq's I/O thread for ever.
    socket.disable_monitor()
    socket.close(0)


def open_dealer(
    context: Context,
    connect: str,
    *,
    routing_id: bytes,
    frame_bytes_max: int,
    send_max: int,
    receive_max: int,
    prepare: Callable[[Socket], None] = lambda socket: None,
    curve: CurveClient | None = None,
) -> Socket:
    """A DEALER that connects and reconnects in the background. Raises BadAddress. `prepare` gets
    the socket before it connects: a monitor set up later would miss the first connection."""
    address = parse_connect_address(connect)
    socket = context.socket(zmq.DEALER)
    _set_common(socket, frame_bytes_max, send_max, receive_max, is_encrypted=curve is not None)
    if routing_id:
        socket.setsockopt(zmq.ROUTING_ID, routing_id)
    # Nothing queues for a peer that is not connected: it would all be stale on its return.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, limits.RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, limits.RECONNECT_MS_MAX)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, limits.CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.IPV6, int(address.is_ipv6))
    if curve is not None:
        set_curve_client(socket, curve)
    prepare(socket)
    socket.connect(str(address))
    return socket
