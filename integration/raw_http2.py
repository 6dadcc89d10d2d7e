"""Frames of HTTP/2 by hand (RFC 9113), for what no client library would send.

No compression and no state: a header is written out, what comes back is read as bytes.
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
CANCEL = 8  # as reason of a reset
FRAME_BYTES = 16_384  # the largest that a peer takes unasked


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


SETTINGS_FRAME = frame(SETTINGS)
GREETING = PREFACE + SETTINGS_FRAME
PING_FRAME = frame(PING, payload=b"12345678")


def header(name: bytes, value: bytes) -> bytes:
    """Of up to 126 bytes each: literal, neither indexed nor compressed (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def call_headers(path: bytes) -> bytes:
    return b"".join(
        header(name, value)
        for name, value in (
            *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path)),
            *((b":authority", b"x"), (b"content-type", b"application/grpc"), (b"te", b"trailers")),
        )
    )


def call(stream: int, path: bytes) -> bytes:
    """One that begins; its message is still to come."""
    return frame(HEADERS, END_HEADERS, stream, call_headers(path))


def message(data: bytes, declared: int | None = None) -> bytes:
    """gRPC's: its length, true or not, and its bytes."""
    return b"\0" + struct.pack(">I", len(data) if declared is None else declared) + data


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


def connect(port: int, first: bytes = b"", timeout_s: float = 10.0) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    connection.sendall(first)
    return connection


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    """What came, as soon as `wanted` is in it; all that came, if the connection ends before."""
    data = b""
    try:
        while wanted not in data:
            piece = connection.recv(65_536)
            if not piece:
                break
            data += piece
    except (TimeoutError, ConnectionError):
        pass
    return data


def send_as_long_as_it_takes(connection: socket.socket, data: bytes) -> bool:
    """Without reading; False when the other end had enough: it closed, or reads no more."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True
