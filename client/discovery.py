"""Who is in the cluster and who leads it, as far as the answers of the nodes tell.

Reading order 6 of the client. Decides, never sends: the driver feeds it what nodes said and asks it
where to go. Time comes in as an argument (seconds of time.monotonic()).
"""

from collections.abc import Sequence

from metastore.client.errors import WrongCluster
from metastore.client.results import Member

PAUSE_S_MIN = 0.02  # first pause after a failure
PAUSE_S_MAX = 0.5  # the pause doubles up to this
REDIRECTS_MAX = (
    2  # hints followed in a row before pausing; nodes may point at each other for a while
)


class Pause:
    """A pause that doubles with every failure and is forgotten at the first success."""

    __slots__ = ("_length_s", "until")

    def __init__(self) -> None:
        self._length_s = PAUSE_S_MIN
        self.until = 0.0

    def extend(self, now: float) -> None:
        """Once per pause: a burst of failures is one failure."""
        if now < self.until:
            return
        self.until = now + self._length_s
        self._length_s = min(self._length_s * 2, PAUSE_S_MAX)

    def forget(self) -> None:
        self._length_s = PAUSE_S_MIN
        self.until = 0.0


class Discovery:
    """The client's picture of the cluster. `is_pinned`: never goes beyond the endpoints given."""

    def __init__(self, endpoints: Sequence[str], is_pinned: bool) -> None:
        self.given = tuple(dict.fromkeys(endpoints))
        self.is_pinned = is_pinned
        self.cluster_id = 0  # 0: not learned yet
        self.leader_id = 0  # 0: not known
        self.members: dict[int, Member] = {}
        self.reason = "no node has been reached yet"  # why there is no leader to go to
        self.pause = Pause()  # of everything that needs the leader
        self._node_of: dict[str, int] = {}  # endpoint -> the node that answered there
        self._pauses: dict[str, Pause] = {}  # endpoint -> after failures to reach it
        self._redirects_count = 0

    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint worth asking: the given ones first, then those learned."""
        if self.is_pinned:
            return self.given
        reached = {self._node_of[endpoint] for endpoint in self.given if endpoint in self._node_of}
        learned = (m.client_address for m in self.members.values() if m.node_id not in reached)
        return tuple(dict.fromkeys((*self.given, *learned)))

    def on_welcome(
        self,
        endpoint: str,
        cluster_id: int,
        node_id: int,
        leader_id: int,
        members: Sequence[Member],
    ) -> None:
        """Raises WrongCluster if the endpoint is not of the cluster that the others are of."""
        if self.cluster_id and cluster_id != self.cluster_id:
            raise WrongCluster(
                f"{endpoint} belongs to another cluster ({cluster_id:x}) than the other endpoints "
                f"({self.cluster_id:x}); correct the endpoints"
            )
        self.cluster_id = cluster_id
        self._node_of[endpoint] = node_id
        self.members = {member.node_id: member for member in members}
        # Only the leader's own word displaces what is known; a lagging follower's may be old.
        if leader_id == node_id or not self.leader_id:
            self.leader_id = leader_id
        if not self.leader_id:
            self.reason = "the nodes reached know of no leader; is a majority of them running?"

    def on_redirect(self, endpoint: str, leader_id: int, now: float) -> None:
        """A node said that it is not the leader, and who is (0: it does not know)."""
        if self.leader_id and endpoint != self.leader_endpoint_or_none():
            return  # the rest of a burst that was under way; the first of it moved us on
        if leader_id == self._node_of.get(endpoint):
            leader_id = 0
        self.leader_id = leader_id
        self._redirects_count += 1
        if not leader_id or self._redirects_count > REDIRECTS_MAX:
            self.leader_id = 0
            self.reason = "the nodes reached do not agree on a leader yet"
            self.pause.extend(now)

    def on_unavailable(self, now: float) -> None:
        self.pause.extend(now)

    def on_served(self) -> None:
        self.pause.forget()
        self._redirects_count = 0

    def on_lost(self, endpoint: str, reason: str, now: float) -> None:
        """The endpoint cannot be reached, or the connection to it broke."""
        self.reason = f"{endpoint}: {reason}"
        self._pauses.setdefault(endpoint, Pause()).extend(now)
        if endpoint == self.leader_endpoint_or_none():
            self.leader_id = 0

    def on_reached(self, endpoint: str) -> None:
        self._pauses.pop(endpoint, None)

    def on_silent(self, endpoint: str) -> None:
        """The node stopped answering; it may be stopped, and another may lead by now."""
        self.reason = f"{endpoint} does not answer"
        if endpoint == self.leader_endpoint_or_none():
            self.leader_id = 0

    def may_connect(self, endpoint: str, now: float) -> bool:
        pause = self._pauses.get(endpoint)
        return pause is None or now >= pause.until

    def leader_endpoint_or_none(self) -> str | None:
        """Where the leader is: an endpoint that already answered as the leader goes first, since
        the address that a node advertises need not be the one that works from here."""
        if not self.leader_id:
            return None
        for endpoint, node_id in self._node_of.items():
            if node_id == self.leader_id and (not self.is_pinned or endpoint in self.given):
                return endpoint
        member = self.members.get(self.leader_id)
        if member is None:
            return None
        if self.is_pinned and member.client_address not in self.given:
            return None
        return member.client_address
