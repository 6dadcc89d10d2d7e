"""A log that ends before what this node once knew to be committed: no vote until it is whole again.

Beside the loop, which asks before it lets a message or a tick through to the core. An honest disk
never loses what it synced, so this is damage: entries that the node acknowledged may be gone, and
its vote could elect a leader without them. Following a leader repairs it; until then it is silent
in elections. A sole voter has nobody to follow: it goes on with what it has, and says so.
"""

from metastore.node.raft.messages import Message, RequestPreVote, RequestVote, TimeoutNow
from metastore.node.raft.node import RaftCore

_ELECTIONS = (RequestVote, RequestPreVote, TimeoutNow)


class LostTail:
    """`committed_once`: the highest commit index that was ever durable on this node."""

    def __init__(self, core: RaftCore, committed_once: int) -> None:
        self._core = core
        self.committed_once = committed_once

    @property
    def is_missing(self) -> bool:
        """False for good once the core has committed as far, with the entries a leader sent."""
        core = self._core
        if core.commit_index >= self.committed_once:
            return False
        return core.status().configuration.all_voters != {core.id}

    def refuses(self, message: Message) -> bool:
        """Whether the message would make this node vote or stand."""
        return isinstance(message, _ELECTIONS) and self.is_missing

    def tick(self) -> None:
        """One tick for the core. A follower's ticks only bring its own campaign nearer."""
        if not self.is_missing:
            self._core.tick()
