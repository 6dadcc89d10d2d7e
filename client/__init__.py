"""Talk to a cluster from Python: `Client`, what it returns, and what it raises.

Start with client.py; the errors are drawn in errors.py. Imports nothing of the node. Names are
looked up on first use, so that a command's --help does not pay for sockets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metastore.client import members, ops
    from metastore.client.client import Client
    from metastore.client.comparisons import (
        Comparison,
        create_revision,
        lease_of,
        mod_revision,
        value,
        version,
    )
    from metastore.client.election import Election
    from metastore.client.errors import (
        AnswerTooLarge,
        ClientMisused,
        Compacted,
        InvalidRequest,
        LeaseLost,
        MetastoreError,
        NotLeader,
        OutcomeUnknown,
        PermissionDenied,
        Unavailable,
        WrongCluster,
        WrongVersion,
    )
    from metastore.client.futures import Future, Pipeline
    from metastore.client.keys import ALL_KEYS, prefix_range
    from metastore.client.lease import Lease
    from metastore.client.lock import Lock
    from metastore.client.results import (
        DeleteResult,
        HashResult,
        KeyValue,
        Member,
        PutResult,
        RangeResult,
        Refused,
        TimeToLive,
        TxnResult,
    )
    from metastore.client.watch import Event, Revision, Watch

__all__ = [
    "ALL_KEYS",
    "AnswerTooLarge",
    "Client",
    "ClientMisused",
    "Compacted",
    "Comparison",
    "DeleteResult",
    "Election",
    "Event",
    "Future",
    "HashResult",
    "InvalidRequest",
    "KeyValue",
    "Lease",
    "LeaseLost",
    "Lock",
    "Member",
    "MetastoreError",
    "NotLeader",
    "OutcomeUnknown",
    "PermissionDenied",
    "Pipeline",
    "PutResult",
    "RangeResult",
    "Refused",
    "Revision",
    "TimeToLive",
    "TxnResult",
    "Unavailable",
    "Watch",
    "WrongCluster",
    "WrongVersion",
    "create_revision",
    "lease_of",
    "members",
    "mod_revision",
    "ops",
    "prefix_range",
    "value",
    "version",
]

_MODULES = (
    *("errors", "results", "keys", "comparisons", "client", "futures"),
    *("lease", "lock", "election", "watch"),
)


def __getattr__(name: str) -> Any:
    if name in ("ops", "members"):
        return import_module(f"metastore.client.{name}")
    if name in __all__:
        for module_name in _MODULES:
            module = import_module(f"metastore.client.{module_name}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
