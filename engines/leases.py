"""Leases: which there are, which keys hang on them, and what their operations answer.

Reading order 7 of the engines. Knows no clock: how long a lease has been living is known by the
leader, who lets it expire by an entry of the log. What happens here is the same on every replica.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from struct import Struct
from struct import error as StructError
from typing import Protocol

from metastore.engines.contract import LeaseChange, StorageDamaged
from metastore.transport.schema import (
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    LEASE_TTL_TOO_LARGE,
    Code,
    Operation,
    Result,
)

LEASE_TTL_MIN_S = 2  # etcd's with its usual election timeout; a shorter one is raised to it
LEASE_TTL_MAX_S = 9_000_000_000  # etcd's
LEASES_MAX = 500_000  # some 200 MB
CHOSEN_LEASE_MIN = 1 << 53  # chosen ids are so large, as etcd's

LEASE_FACT = b"lease/"
LEASED_FACT = b"leased/"
TOO_MANY_LEASES = "metastore: too many leases"

_OK = int(Code.OK)
_NOT_FOUND: Result = (int(Code.NOT_FOUND), LEASE_NOT_FOUND)
_ID = Struct(">q")
_LEASE = Struct(">qqq")
_U64 = (1 << 64) - 1


class Lease:
    """One lease. `remaining_s` 0: it has its whole ttl to live."""

    __slots__ = ("keys", "remaining_s", "renewals", "ttl_s")

    def __init__(self, ttl_s: int, renewals: int = 0, remaining_s: int = 0) -> None:
        self.ttl_s = ttl_s
        self.renewals = renewals
        self.remaining_s = remaining_s
        self.keys: set[bytes] = set()  # never walked in its own order, which differs by process

    @property
    def to_live_s(self) -> int:
        return self.remaining_s or self.ttl_s


class Leases:
    """The table of leases; implements mvcc.LeaseKeys."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        # By lease, what a clock must know; in the order of each lease's last change.
        self._changes: dict[int, int] = {}
        self.changed_facts: dict[bytes, bytes | None] | None = None  # None: nobody asks

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, lease: int) -> Lease | None:
        return self._leases.get(lease)

    def ids(self) -> list[int]:
        return sorted(self._leases)

    def keys_of(self, lease: int) -> Collection[bytes]:
        """In no order that means anything; none of a lease that is not there."""
        found = self._leases.get(lease)
        return () if found is None else found.keys

    # For the keys

    def exists(self, lease: int) -> bool:
        return lease in self._leases

    def attach(self, lease: int, key: bytes) -> None:
        self._leases[lease].keys.add(key)
        if self.changed_facts is not None:
            self.changed_facts[LEASED_FACT + _ID.pack(lease) + key] = b""

    def detach(self, lease: int, key: bytes) -> None:
        self._leases[lease].keys.discard(key)
        if self.changed_facts is not None:
            self.changed_facts[LEASED_FACT + _ID.pack(lease) + key] = None

    # For the operations

    def add(self, lease: int, ttl_s: int) -> None:
        self._leases[lease] = added = Lease(ttl_s)
        self._note(lease, added)

    def remove(self, lease: int) -> None:
        """Its keys must be gone by now."""
        del self._leases[lease]
        self._note(lease, None)

    def renew(self, lease: int) -> int | None:
        """The ttl that it has again; None: there is no such lease."""
        renewed = self._leases.get(lease)
        if renewed is None:
            return None
        renewed.renewals += 1
        renewed.remaining_s = 0
        self._note(lease, renewed)
        return renewed.ttl_s

    def set_remaining(self, lease: int, renewals: int, remaining_s: int) -> None:
        """Passed over: a lease that is not there or was renewed since the leader looked (it has its
        whole ttl again), and a remainder that would prolong it."""
        kept = self._leases.get(lease)
        if kept is None or kept.renewals != renewals:
            return
        if 0 < remaining_s < kept.to_live_s:
            kept.remaining_s = remaining_s
            self._note(lease, kept)

    def take_changes(self) -> list[LeaseChange]:
        changes = [LeaseChange(lease, ttl_s) for lease, ttl_s in self._changes.items()]
        self._changes.clear()
        return changes

    # As facts

    def facts(self) -> Iterator[tuple[bytes, bytes]]:
        """By ascending name."""
        names = sorted((_ID.pack(lease), lease) for lease in self._leases)
        for name, lease in names:
            yield LEASE_FACT + name, _encode(self._leases[lease])
        for name, lease in names:
            for key in sorted(self._leases[lease].keys):
                yield LEASED_FACT + name + key, b""

    def load(self, facts: Iterable[tuple[bytes, bytes]]) -> None:
        """Of an empty table, in any order. Every lease becomes a change. Raises StorageDamaged."""
        leased: list[bytes] = []
        try:
            for name, value in facts:
                if name.startswith(LEASE_FACT):
                    lease = _ID.unpack(name[len(LEASE_FACT) :])[0]
                    self._leases[lease] = Lease(*_LEASE.unpack(value))
                else:
                    leased.append(name[len(LEASED_FACT) :])
            for name in leased:
                self._leases[_ID.unpack_from(name)[0]].keys.add(name[_ID.size :])
        except (KeyError, StructError):
            raise StorageDamaged(f"a fact that is no lease: {name!r}") from None
        self._changes = {lease: kept.to_live_s for lease, kept in sorted(self._leases.items())}

    def _note(self, lease: int, kept: Lease | None) -> None:
        self._changes.pop(lease, None)  # so that it stands at the end
        self._changes[lease] = 0 if kept is None else kept.to_live_s
        if self.changed_facts is not None:
            value = None if kept is None else _encode(kept)
            self.changed_facts[LEASE_FACT + _ID.pack(lease)] = value


class KeysOfLeases(Protocol):
    """What the operations need of the keys; mvcc.KeySpace has it."""

    revision: int

    def delete_keys(self, keys: Sequence[bytes], /) -> int: ...


class LeaseOperations:
    """What the operations on leases do and answer, as etcd's do."""

    def __init__(self, leases: Leases, keys: KeysOfLeases) -> None:
        self._leases = leases
        self._keys = keys

    def grant(self, operation: Operation, index: int, place: int) -> Result:
        """`index` and `place` of the operation in the log choose an id where none is given."""
        _, lease, ttl_s = operation
        if ttl_s > LEASE_TTL_MAX_S:
            return (int(Code.OUT_OF_RANGE), LEASE_TTL_TOO_LARGE)
        if self._leases.exists(lease):
            return (int(Code.FAILED_PRECONDITION), LEASE_EXISTS)
        if len(self._leases) >= LEASES_MAX:
            return (int(Code.RESOURCE_EXHAUSTED), TOO_MANY_LEASES)
        ttl_s = max(ttl_s, LEASE_TTL_MIN_S)
        if lease == 0:
            lease = self._choose(index, place)
        self._leases.add(lease, ttl_s)
        return (_OK, self._keys.revision, lease, ttl_s)

    def revoke(self, operation: Operation) -> Result:
        lease = operation[1]
        if not self._leases.exists(lease):
            return _NOT_FOUND
        self._end(lease)
        return (_OK, self._keys.revision)

    def keep_alive(self, operation: Operation) -> Result:
        return (_OK, self._keys.revision, self._leases.renew(operation[1]) or 0)

    def time_to_live(self, operation: Operation, remaining_s: int | None = None) -> Result:
        """`remaining_s`: from a clock; None: what every replica knows alike."""
        lease = self._leases.get(operation[1])
        if lease is None:
            return (_OK, self._keys.revision, -1, 0, ())
        if remaining_s is None:
            remaining_s = lease.to_live_s
        keys = sorted(lease.keys) if operation[2] else ()
        return (_OK, self._keys.revision, remaining_s, lease.ttl_s, keys)

    def list_all(self, _: Operation) -> Result:
        return (_OK, self._keys.revision, self._leases.ids())

    # Of the leader's own entries

    def expire(self, operation: Operation) -> None:
        """Not if the lease was renewed since the leader looked: the renewal was answered."""
        _, lease, renewals = operation
        found = self._leases.get(lease)
        if found is not None and found.renewals == renewals:
            self._end(lease)

    def set_remaining(self, operation: Operation) -> None:
        self._leases.set_remaining(*operation[1:])

    def _end(self, lease: int) -> None:
        """All keys go in one revision, in sorted order."""
        found = self._leases.get(lease)
        if found is not None and found.keys:
            self._keys.delete_keys(sorted(found.keys))
        self._leases.remove(lease)

    def _choose(self, index: int, place: int) -> int:
        mixed = _mix(index ^ _mix(place))
        while mixed >> 1 < CHOSEN_LEASE_MIN or self._leases.exists(mixed >> 1):
            mixed = _mix(mixed)
        return mixed >> 1


def _mix(number: int) -> int:
    """One step of SplitMix64: equal numbers give equal ones, neighbours far ones."""
    number = (number + 0x9E3779B97F4A7C15) & _U64
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _U64
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _U64
    return number ^ number >> 31


def _encode(lease: Lease) -> bytes:
    return _LEASE.pack(lease.ttl_s, lease.renewals, lease.remaining_s)
