"""Errors that the core gives to its caller; the state is unchanged whenever one is raised.

    RaftError
    ├── ProposalDropped      neither appended nor forwarded (no leader, a transfer, a limit): retry
    ├── PeerNotFound         a reply from a node outside the configuration: ignore it
    └── LocalMessageRefused  a local message from outside: the sender is broken

An impossible state is no RaftError but model.RaftFailed: the node must stop.
"""


class RaftError(Exception):
    """Base of all errors above."""

    sentence = "raft error"

    def __init__(self) -> None:
        super().__init__(self.sentence)


class ProposalDropped(RaftError):
    sentence = "raft proposal dropped"


class PeerNotFound(RaftError):
    sentence = "raft: cannot step as peer not found"


class LocalMessageRefused(RaftError):
    sentence = "raft: cannot step raft local message"
