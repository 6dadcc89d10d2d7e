"""Which node the gateway belongs to, learned from what answers at its address.

Read with link.py. The client library knows a cluster and cares little who is who; a gateway speaks
for one node, and everybody it answers wants that node's id. Decides nothing, sends nothing.
"""

from collections.abc import Sequence

from metastore.client.discovery import Discovery
from metastore.transport.envelope import MemberAddresses


class OwnNode(Discovery):
    """The client's picture of the cluster, seen from one node. Changed by the driver's thread, read
    by the loop: single numbers, each replaced as a whole."""

    def __init__(self, address: str) -> None:
        super().__init__((address,), False)
        self.own_address = address
        self.own_id = 0  # 0: never reached; kept while the node is away
        self.is_reached = False

    def on_welcome(
        self,
        endpoint: str,
        cluster_id: int,
        node_id: int,
        leader_id: int,
        members: Sequence[MemberAddresses],
    ) -> None:
        """Raises WrongCluster."""
        super().on_welcome(endpoint, cluster_id, node_id, leader_id, members)
        if endpoint == self.own_address:
            # Anew each time: a node that lost its disk comes back under another id.
            self.own_id, self.is_reached = node_id, True

    def on_lost(
        self,
        endpoint: str,
        reason: str,
        now: float,
        *,
        is_refusal: bool = False,
        pauses: bool = True,
    ) -> None:
        super().on_lost(endpoint, reason, now, is_refusal=is_refusal, pauses=pauses)
        if endpoint == self.own_address:
            self.is_reached = False
