"""Every limit of the HTTP server."""

from metastore.api.grpc.limits import MESSAGE_BYTES_MAX

# Of a body, or of one message in it: base64 of the largest request that gRPC takes, and its names.
BODY_BYTES_MAX = 2 * MESSAGE_BYTES_MAX
# Of the bodies of all calls under way, as they come: each costs several times its size until it is
# answered. Above, further ones are refused, but for small ones.
BODIES_BYTES_MAX = 128 << 20
HEADER_BYTES_MAX = 64 << 10  # of one header, as for gRPC's metadata: tokens signed with long keys
CALLS_MAX = 65_536  # of all connections at a time
KEEPALIVE_S = 3600.0  # clients keep pools of idle connections
LINGER_S = 10.0  # for the rest of a body that is too large; then the connection ends
STOP_S = 1.0  # for calls under way when the server stops
CHECK_S = 3.0  # for one question of a health check
