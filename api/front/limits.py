"""Every limit of the port, and the file descriptors that its connections need."""

import resource

CONNECTIONS_MAX = 10_000
BACKLOG = 1024  # connections that wait to be accepted
# A client speaks first, in both protocols; the TLS handshake has the same time once more.
FIRST_BYTES_S = 20.0
CONNECT_S = 5.0  # to the gRPC server: it is in this process
CONNECT_RETRY_S = 0.01
FLUSH_S = 10.0  # for the last bytes to a client that reads no more
CLOSE_S = 1.0  # for connections to notice that they are ended
LEFT_LOOK_S = 2.0  # between two looks whether a client is still there that is not being read
KEEPALIVE_IDLE_S = 30  # TCP's own, so that clients that are gone without a word are noticed
KEEPALIVE_COUNT = 4

# Of a relayed connection: the client's, the relay's, the gRPC server's.
DESCRIPTORS_PER_CONNECTION = 3
DESCRIPTORS_KEPT = 128  # for everything else of the process


def connections_possible(wanted: int) -> int:
    """How many of `wanted` connections the process has descriptors for, after raising its soft
    limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_KEPT
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(1, (soft - DESCRIPTORS_KEPT) // DESCRIPTORS_PER_CONNECTION))
