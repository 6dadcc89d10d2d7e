"""The one fact of the state machine that is no table: its revisions, its size, its alarms.

Reading order 7 of the engines, for state.py.
"""

from typing import NamedTuple

import msgpack

from metastore.engines.contract import StorageDamaged

SCALARS_FACT = b"scalars"


class Scalars(NamedTuple):
    """Of an empty store, unless said otherwise."""

    revision: int = 1
    compacted_revision: int = 0
    size_bytes: int = 0
    alarms: tuple[int, ...] = ()

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb(self)
        return packed


def decode_scalars(value: bytes) -> Scalars:
    """Raises StorageDamaged."""
    try:
        scalars = msgpack.unpackb(value, use_list=False)
        if tuple(map(type, scalars)) == (int, int, int, tuple):
            return Scalars(*scalars)
    except Exception:
        pass
    raise StorageDamaged(f"{value!r} is not the fact {SCALARS_FACT!r}")
