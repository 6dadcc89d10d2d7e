"""Every limit of the gRPC server, and the options that tell the library of them."""

from collections.abc import Sequence

MESSAGE_BYTES_MAX = 2 << 20  # of a request, etcd's: 1.5 MiB and 512 KiB for what surrounds it
# Up to here a larger request is read and refused in etcd's words; above, the library refuses it
# unread in its own, with the same code.
RECEIVED_BYTES_MAX = 16 << 20
METADATA_BYTES_MAX = 64 << 10  # of a call; tokens signed with long keys go here
STREAMS_MAX = 16_384  # of one connection at a time; etcd has no limit that anybody meets
CALLS_MAX = 65_536  # of all connections at a time
# Of the requests being served at a time, each of which costs some three times its size until it is
# answered; above, further ones are refused, but for small ones: they always find room.
REQUEST_BYTES_MAX = 256 << 20
REQUEST_BYTES_FREE = 4096
KEEPALIVE_MS = 2 * 60 * 60 * 1000  # between pings of ours on a silent connection, etcd's
KEEPALIVE_TIMEOUT_MS = 20 * 1000  # etcd's

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    ("grpc.max_send_message_length", -1),  # answers have no limit, as in etcd
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES_MAX),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    # Calls that have come and were not yet taken by Python: a burst of 64 connections with 16 calls
    # each is above the library's 1,000, and it would refuse the rest.
    ("grpc.server.max_pending_requests", CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", CALLS_MAX),
    # Clients' pings: etcd allows one in 5 s and ends the connection of who sends more; some do
    # without a call. A ping costs less than any call, so here nobody is put out for them.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.so_reuseport", 0),
)
