"""What a question to the node can fail with, in etcd's words.

Read with link.py. The client library sorts errors by what its user must do; clients of etcd match
on texts. Holds no state.
"""

from metastore.api.calls import ApiError, Status
from metastore.client import errors
from metastore.transport import auth_ops
from metastore.transport.schema import COMPACTED

TIMED_OUT = "etcdserver: request timed out"
STOPPED = "etcdserver: server stopped"
TOO_LARGE = "etcdserver: request is too large"


class WatchCompacted(ApiError):
    """A watch from before the compaction."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(Status.OUT_OF_RANGE, COMPACTED)
        self.compact_revision = compact_revision


class AnswerTooLarge(ApiError):
    """A read whose answer does not fit one message of the node; a part of it may."""

    def __init__(self, message: str) -> None:
        super().__init__(Status.RESOURCE_EXHAUSTED, message)


def translated(error: errors.MetastoreError) -> ApiError:
    """An error of the client library in etcd's words."""
    text = str(error)
    if isinstance(error, errors.Compacted):
        return WatchCompacted(error.revision)
    if isinstance(error, errors.AnswerTooLarge):
        return AnswerTooLarge(text)
    if isinstance(error, errors.PermissionDenied):
        return ApiError(Status.PERMISSION_DENIED, auth_ops.PERMISSION_DENIED)
    if isinstance(error, errors.InvalidRequest):
        return ApiError(Status(error.code), text)
    if isinstance(error, errors.ClientMisused):
        return ApiError(Status.UNAVAILABLE, STOPPED)
    return ApiError(Status.UNAVAILABLE, TIMED_OUT)  # also when it may have happened, as in etcd
