"""Free ports for the nodes of a test that no test beside it takes: each worker has its share."""

import os

from cluster.layout import is_free, random_ports


def own_ports(count: int) -> list[int]:
    """Below the ephemeral range, where an outgoing connection could take one before its node, and
    while a node that was killed is away."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return random_ports(count, lambda port: port % workers == worker and is_free(port))
