"""Who is in the cluster and who leads it, as far as the answers of the nodes tell.

Reading order 6 of the client. Decides, never sends: the driver feeds it what nodes said and asks it
where to go. Time comes in as an argument (seconds of time.monotonic()).
"""

from collections.abc import Sequence

from metastore.client.errors import WrongCluster
from metastore.transport.envelope import MemberAddresses

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
        self.members: dict[int, MemberAddresses] = {}  # a witness has no client address
        self._teller_id = 0  # the node whose word `members` is
        self.reason = "no node has been reached yet"  # why there is no leader to go to
        self.pause = Pause()  # of everything that needs the leader
        self._node_of: dict[str, int] = {}  # endpoint -> the node that answered there
        self._pauses: dict[str, Pause] = {}  # endpoint -> after failures to reach it
        self._redirects_count = 0
        self._refusing: set[str] = set()  # endpoints that did not let us in when last heard of

    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint worth asking: the given ones first, then those learned."""
        if self.is_pinned:
            return self.given
        reached = {self._node_of[endpoint] for endpoint in self.given if endpoint in self._node_of}
        others = (member for member in self.members.values() if member.node_id not in reached)
        learned = (member.client for member in others if member.client)
        # And whoever answers, though the node that told us last has not heard of it yet.
        return tuple(dict.fromkeys((*self.given, *learned, *self._node_of)))

    def on_welcome(
        self,
        endpoint: str,
        cluster_id: int,
        node_id: int,
        leader_id: int,
        members: Sequence[MemberAddresses],
    ) -> None:
        """Raises WrongCluster if the endpoint is not of the cluster that the others are of."""
        if self.cluster_id and cluster_id != self.cluster_id:
            raise WrongCluster(
                f"{endpoint} belongs to another cluster ({cluster_id:x}) than the other endpoints "
                f"({self.cluster_id:x}); correct the endpoints"
            )
        self.cluster_id = cluster_id
        self._node_of[endpoint] = node_id
        # A node that lags behind may still name members that were removed, at places they have
        # left.
        if leader_id == node_id or not self.leader_id or self._teller_id != self.leader_id:
            self.members = {member.node_id: member for member in members}
            self._teller_id = node_id
        if leader_id == node_id:
            self._forget_strangers(endpoint)
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

    def on_lost(
        self,
        endpoint: str,
        reason: str,
        now: float,
        *,
        is_refusal: bool = False,
        pauses: bool = True,
    ) -> None:
        """The endpoint cannot be reached, or the connection to it broke. `is_refusal`: it is there
        and does not let us in."""
        if is_refusal:
            self._refusing.add(endpoint)
        else:
            self._refusing.discard(endpoint)
        # What somebody has to mend is not hidden by a node that is merely down.
        if is_refusal or not self._refusing:
            self.reason = f"{endpoint}: {reason}"
        if pauses:
            self._pauses.setdefault(endpoint, Pause()).extend(now)
        if endpoint == self.leader_endpoint_or_none():
            self.leader_id = 0
        self._node_of.pop(endpoint, None)  # who comes back there may be another

    def on_reached(self, endpoint: str) -> None:
        self._pauses.pop(endpoint, None)
        self._refusing.discard(endpoint)

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
        if self.is_pinned and member.client not in self.given:
            return None
        return member.client or None

    def holds_data(self, endpoint: str) -> bool:
        """Whether a node that answers there can serve reads and watches, as far as is known: a
        witness cannot. A pinned client shall hear that from the node."""
        member = self.members.get(self._node_of.get(endpoint, 0))
        return self.is_pinned or member is None or bool(member.client)

    def _forget_strangers(self, endpoint: str) -> None:
        """The leader itself has just said who the members are: others are of no use any more,
        unless the user named them. The leader's own place is good, whatever it is called."""
        places = {member.client for member in self.members.values()} | {*self.given, endpoint}
        for known in (self._node_of, self._pauses):
            for stranger in known.keys() - places:
                del known[stranger]
