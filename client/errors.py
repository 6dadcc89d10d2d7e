"""What can go wrong for a caller, sorted by what the caller must do about it.

    MetastoreError
    ├── Unavailable        nothing happened: try again later, or look at the cluster
    │   └── NotLeader      nothing happened: go to `leader_address` (a pinned client only)
    ├── OutcomeUnknown     it may have happened or may yet happen: read before you repeat it
    ├── InvalidRequest     never happened and never will: change the request
    │   ├── PermissionDenied   this client's key may not do that: change what it may, or its key
    │   ├── WrongCluster   the endpoint belongs to another cluster: change the endpoints
    │   ├── AnswerTooLarge a read of more than one answer can hold: give a limit, or scan
    │   ├── Compacted      the revision is gone: read what is there now, and go on from there
    │   └── WrongVersion   the node speaks another protocol: change one of the two
    ├── LeaseLost          the lease ended, and locks and keys with it: stop what relied on it
    └── ClientMisused      the program is wrong: closed client, or one used on both sides of a fork

Reading order 1 of the client. Holds no behaviour.
"""


class MetastoreError(Exception):
    """Everything this client raises on purpose."""


class Unavailable(MetastoreError):
    """No node could serve the request in time, and a write was surely not proposed."""


class NotLeader(Unavailable):
    """The node asked is not the leader, and the client may not go elsewhere (`pinned`)."""

    def __init__(self, message: str, leader_id: int = 0, leader_address: str = "") -> None:
        super().__init__(message)
        self.leader_id = leader_id  # 0: the node knows of no leader
        self.leader_address = leader_address  # "": not known


class OutcomeUnknown(MetastoreError):
    """The write left this client and no answer came back in time. It may have been applied, it may
    be applied later, or it may be lost. Read the keys before deciding to repeat it."""


class InvalidRequest(MetastoreError):
    """The cluster refused the request itself. `code` is a status of transport.schema.Code."""

    def __init__(self, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.code = code


class PermissionDenied(InvalidRequest):
    """The cluster knows who asks, and that one may not do this. Nothing happened."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=7)  # gRPC's PERMISSION_DENIED


class WrongCluster(InvalidRequest):
    """The endpoints given do not all belong to one cluster."""


class AnswerTooLarge(InvalidRequest):
    """A read whose answer is larger than one message may be."""


class Compacted(InvalidRequest):
    """What was asked for lies before the compaction. `revision` is the oldest that can still be
    had; 0 if the node did not say."""

    def __init__(self, message: str, revision: int = 0) -> None:
        super().__init__(message, code=11)  # transport.schema.Code.OUT_OF_RANGE
        self.revision = revision


class WrongVersion(InvalidRequest):
    """The node does not speak this client's protocol version."""


class LeaseLost(MetastoreError):
    """The lease ended, or this client cannot be sure any more that it did not. Whatever it guarded
    may belong to another by now. `reason` says how it was lost."""

    def __init__(self, lease_id: int, reason: str) -> None:
        super().__init__(f"lease {lease_id:x} is lost: {reason}")
        self.lease_id = lease_id
        self.reason = reason


class ClientMisused(MetastoreError):
    """The client was used after close(), or in a process forked from the one that made it."""
