"""A key space for tests: on the memory engine's records, with leases that are only a table."""

from metastore.engines.memory.records import MemoryRecords
from metastore.engines.mvcc import KeySpace
from metastore.engines.records import KeyValue
from metastore.transport.schema import Code, Result

LEASE = 5


class LeaseTable:
    """The keys of the leases that exist."""

    def __init__(self, *leases: int) -> None:
        self.keys: dict[int, set[bytes]] = {lease: set() for lease in leases}

    def exists(self, lease: int) -> bool:
        return lease in self.keys

    def attach(self, lease: int, key: bytes) -> None:
        self.keys[lease].add(key)

    def detach(self, lease: int, key: bytes) -> None:
        self.keys[lease].remove(key)


def empty_keys(leases: LeaseTable | None = None) -> KeySpace:
    """Revision 1; the leases LEASE and LEASE + 1 exist."""
    return KeySpace(MemoryRecords(), leases or LeaseTable(LEASE, LEASE + 1))


def invalid(message: str) -> Result:
    return (Code.INVALID_ARGUMENT, message)


def out_of_range(message: str) -> Result:
    return (Code.OUT_OF_RANGE, message)


def content(keys: KeySpace) -> dict[bytes, bytes]:
    """The live keys and their values."""
    return {record[0]: record[1] for record in keys.records.select(b"", None, 0)}


def all_versions(keys: KeySpace) -> list[KeyValue]:
    return [record for of_key in keys.records.versions() for record in of_key]
