"""Talk to a cluster from Python: `Client`, what it returns, and what it raises.

Start with client.py; the errors are drawn in errors.py. Imports nothing of the node. Names are
looked up on first use, so that a command's --help does not pay for sockets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metastore.client.client import Client
    from metastore.client.errors import (
        AnswerTooLarge,
        ClientMisused,
        InvalidRequest,
        MetastoreError,
        NotLeader,
        OutcomeUnknown,
        Unavailable,
        WrongCluster,
        WrongVersion,
    )
    from metastore.client.futures import Future, Pipeline
    from metastore.client.keys import ALL_KEYS, prefix_range
    from metastore.client.results import (
        DeleteResult,
        KeyValue,
        Member,
        PutResult,
        RangeResult,
        Refused,
    )

__all__ = [
    "ALL_KEYS",
    "AnswerTooLarge",
    "Client",
    "ClientMisused",
    "DeleteResult",
    "Future",
    "InvalidRequest",
    "KeyValue",
    "Member",
    "MetastoreError",
    "NotLeader",
    "OutcomeUnknown",
    "Pipeline",
    "PutResult",
    "RangeResult",
    "Refused",
    "Unavailable",
    "WrongCluster",
    "WrongVersion",
    "prefix_range",
]

_MODULES = ("client", "errors", "futures", "keys", "results")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module_name in _MODULES:
            module = import_module(f"metastore.client.{module_name}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
