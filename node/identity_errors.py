"""Why a node may not run as who it is: what is wrong with its data directory, or with itself.

Below identity.py, which raises those of the directory and hands all of them on; what the cluster
says of this node comes from members/registration.py. process.py maps them to exit codes.
"""

from pathlib import Path


class DataDirectoryLocked(Exception):
    """Another process holds the directory; two writers would destroy the log."""


class DataDirectoryForeign(Exception):
    """The directory belongs to another node, cluster or engine, or to nobody we know."""


class NotYetJoined(DataDirectoryForeign):
    """The node was to join a cluster, knows nobody of it yet and was not told where to look."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"data directory {path} was to join a cluster and has not yet; start it with "
            "--join ADDRESS"
        )


class DataDirectoryWiped(Exception):
    """The directory has its identity but lost what the node had promised to remember."""


class DataDirectoryUnusable(Exception):
    """The directory cannot be made, read or written."""


class RemovedFromCluster(Exception):
    """The cluster has this node as a member no more, and never again."""

    def __init__(self, node_id: int) -> None:
        super().__init__(
            f"node {node_id} was removed from the cluster, and its number does not come back; to "
            "use this machine again, start it with another node_id, an empty data_dir and --join"
        )
        self.node_id = node_id


class LostData(Exception):
    """The cluster knows this node with another data directory; the text is the leader's, with the
    command that repairs it."""


class JoinRefused(Exception):
    """The cluster does not take this node as its settings are; the text says what it said."""
