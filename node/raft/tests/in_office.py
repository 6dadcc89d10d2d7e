"""Servers put into a role by force, for tests of what the role then does; stands on raft_server.py.

Nobody is asked and nobody is told: no vote request and no append leaves.
"""

from raft_server import Server

from metastore.node.raft.messages import AppendEntries, Message
from metastore.node.raft.model import Role
from metastore.node.raft.progress import Progress


def put_in_role(server: Server, role: Role) -> Server:
    """A candidate or leader is one term later; the rest keeps its term."""
    raft = server.core.raft
    if role is Role.FOLLOWER:
        raft.become_follower(raft.term, 0)
    elif role is Role.PRE_CANDIDATE:
        raft.become_pre_candidate()
    else:
        raft.become_candidate()
        if role is Role.LEADER:
            raft.become_leader()
    return server


def in_office(server: Server) -> Server:
    """The leader of the next term, its empty entry durable on itself only."""
    put_in_role(server, Role.LEADER)
    server.read()
    return server


def progress_of(server: Server, node_id: int) -> Progress:
    """The very object the leader uses, not a copy."""
    return server.core.raft.tracker.progress[node_id]


def appends(messages: list[Message]) -> list[AppendEntries]:
    """Only the appends among them."""
    return [message for message in messages if isinstance(message, AppendEntries)]


def proposed(server: Server, data: bytes = b"somedata") -> list[AppendEntries]:
    """Proposes, and returns the appends that leave."""
    server.core.propose(data)
    return appends(server.read())
