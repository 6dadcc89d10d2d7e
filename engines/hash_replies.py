"""The reply to HASH, worked out from a frozen state on a thread of its own, for every engine.

Reading order 9 of the engines. Reads nothing but its arguments; lets other threads run, and stops
when it is told to.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from metastore.engines.hashing import hash_versions
from metastore.engines.records import KeyValue
from metastore.engines.refusals import COMPACTED_AWAY, IN_THE_FUTURE
from metastore.transport.schema import Code, Result, encode_results

CLOSED: Result = (int(Code.FAILED_PRECONDITION), "metastore: the store was closed meanwhile")

_OK = int(Code.OK)
_KEYS_AT_ONCE = 256  # hashed without letting another thread run: well under a millisecond
_NEVER_COMPACTED = -1  # etcd's


class _Stopped(Exception):
    pass


def hash_reply(
    versions: Iterable[Sequence[KeyValue]],
    asked_revision: int,
    compacted: int,
    revision: int,
    stopped: Callable[[], bool] = lambda: False,
) -> bytes:
    """Of a state at `revision`, compacted at `compacted` (0: never), whose records are `versions`;
    `asked_revision` 0 is the newest. An error is a reply, too."""
    hashed = asked_revision if asked_revision > 0 else revision
    if hashed < compacted:
        return encode_results((COMPACTED_AWAY,))
    if hashed > revision:
        return encode_results((IN_THE_FUTURE,))
    try:
        value = hash_versions(_in_turns(versions, stopped), compacted, hashed)
    except _Stopped:
        return encode_results((CLOSED,))
    return encode_results(((_OK, revision, value, compacted or _NEVER_COMPACTED, hashed),))


def _in_turns(
    versions: Iterable[Sequence[KeyValue]], stopped: Callable[[], bool]
) -> Iterator[Sequence[KeyValue]]:
    for place, of_one_key in enumerate(versions):
        if place % _KEYS_AT_ONCE == 0:
            if stopped():
                raise _Stopped
            time.sleep(0)
        yield of_one_key
