"""Every limit of the transport, by name, and the relations between them.

Reading order 2. Bytes are of one frame unless said otherwise; counts of queues are ZeroMQ messages
per connection; times are milliseconds unless the name says seconds.
"""

from metastore.transport.errors import invariant
from metastore.transport.schema import REQUEST_BYTES_MAX

# Peers. A message holds what one loop turn sends to one peer: an append of at most APPEND_BYTES_MAX
# plus small messages. The queues are short on purpose: what does not fit is dropped and counted,
# and Raft's progress falls back to probing, instead of a backlog growing stale (libzmq#2037).
APPEND_BYTES_MAX = 1 << 20
PEER_PAYLOAD_BYTES_MAX = 8 << 20
PEER_SEND_QUEUE_MAX = 128
PEER_RECEIVE_QUEUE_MAX = 256
PEER_DRAIN_BYTES_MAX = 16 << 20  # of one drain()
VERDICT_QUEUE_MAX = 16  # refusals on their way back

# Clients.
CLIENT_FRAME_OVERHEAD_BYTES = 64
CLIENT_FRAME_BYTES_MAX = REQUEST_BYTES_MAX + CLIENT_FRAME_OVERHEAD_BYTES
ANSWER_FRAME_BYTES_MAX = 64 << 20  # what a client takes; larger ranges are read in pages
CLIENT_FRAMES_MAX = 1024  # of one multipart message
CLIENT_SEND_QUEUE_MAX = 128
CLIENT_RECEIVE_QUEUE_MAX = 128
CLIENT_DRAIN_BYTES_MAX = 16 << 20

# Status.
STATUS_REQUEST_BYTES_MAX = 4096
STATUS_QUEUE_MAX = 64

# Snapshots.
SNAPSHOT_CHUNK_BYTES = 256 << 10
SNAPSHOT_WINDOW_CHUNKS = 8
SNAPSHOT_META_BYTES_MAX = 64 << 10
SNAPSHOT_SILENCE_MS = 1_000  # without an answer, the sender offers again
SNAPSHOT_STALL_MS = 15_000  # without progress, the sender gives up
SNAPSHOT_CLOSE_MS = 5_000  # a stopping node does not wait longer for work on a file

# Backups.
BACKUP_PIECE_BYTES_MAX = 256 << 10

# Connections.
RECONNECT_MS = 20
RECONNECT_MS_MAX = 500
CONNECT_TIMEOUT_MS = 1_000  # a SYN into a partition is not waited for
HANDSHAKE_TIMEOUT_MS = 2_000  # a connection that does not speak ZMTP is closed
UNACKNOWLEDGED_MS_MAX = 3_000  # TCP gives up on a silent peer, instead of backing off for minutes
KEEPALIVE_IDLE_SECONDS = 5
KEEPALIVE_INTERVAL_SECONDS = 2
KEEPALIVE_COUNT = 3
LISTEN_BACKLOG = 256
CURVE_OVERHEAD_BYTES = 33  # of an encrypted frame: its name, number, seal and flags

# What one listening socket of clients bears; who goes beyond is refused, and nobody else suffers.
CONNECTIONS_MAX = 10_000  # at most this many clients at once, by default; settings may say less
REQUESTS_IN_FLIGHT_MAX = 4096  # of one connection: asked and not answered yet

# What is remembered about strangers, so that hostile headers and keys cannot grow memory.
STRANGERS_MAX = 64
STRANGERS_FORGOTTEN_SECONDS = 3_600  # once so many were logged, for this long no other one is
REFUSAL_REASONS_MAX = 64  # counted apart

# Keys. What one turn of their threads takes, before it looks whether it shall stop.
ZAP_QUESTIONS_PER_TURN = 64
HANDSHAKE_EVENTS_PER_TURN = 256

invariant(APPEND_BYTES_MAX * 2 <= PEER_PAYLOAD_BYTES_MAX, "an append fits with room to spare")
invariant(REQUEST_BYTES_MAX * 2 <= PEER_PAYLOAD_BYTES_MAX, "a request always fits a peer message")
invariant(PEER_PAYLOAD_BYTES_MAX <= PEER_DRAIN_BYTES_MAX, "one drain can take the largest message")
invariant(CLIENT_FRAME_BYTES_MAX <= CLIENT_DRAIN_BYTES_MAX, "one drain can take the largest frame")
invariant(
    CLIENT_FRAMES_MAX <= REQUESTS_IN_FLIGHT_MAX, "one full message is not too much for a connection"
)
invariant(RECONNECT_MS <= RECONNECT_MS_MAX, "the first reconnect is the fastest")
invariant(
    SNAPSHOT_SILENCE_MS * 3 <= SNAPSHOT_STALL_MS, "a transfer is offered again before it fails"
)
invariant(
    SNAPSHOT_META_BYTES_MAX < SNAPSHOT_CHUNK_BYTES, "the frame limit of a chunk covers an offer"
)
invariant(
    BACKUP_PIECE_BYTES_MAX < ANSWER_FRAME_BYTES_MAX, "a piece of a backup fits what a client takes"
)
