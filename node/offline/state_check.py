"""Whether a state is one: versions in order, counts that agree, leases that know their keys.

Reading order 6 of the offline tools, below verify.py. One walk over all versions.
"""

from collections.abc import Iterator, Sequence

from metastore.engines.contract import StorageDamaged
from metastore.engines.hashing import hash_versions
from metastore.engines.records import KEY, LEASE, MOD, KeyValue, is_tombstone
from metastore.engines.state import State
from metastore.node.offline.contents import Held
from metastore.node.offline.reading import Progress

_PROGRESS_KEYS = 1000  # between two signs of progress


def check_state(held: Held, progress: Progress) -> str:
    """What it holds, in a sentence, with a hash that is the same on every node with the same state.
    Raises StorageDamaged naming key and revision."""
    state = held.state
    keys = state.keys
    if keys.compacted_revision > keys.revision:
        raise StorageDamaged(f"compacted at {keys.compacted_revision}, newest is {keys.revision}")
    walk = _Walk(state, progress)
    found = hash_versions(walk.versions(), keys.compacted_revision, keys.revision)
    walk.check_counts()
    return (
        f"as of index {held.applied.index}: revision {keys.revision}, compacted "
        f"{keys.compacted_revision}, {walk.live_count} keys, {len(state.leases)} leases, "
        f"{len(state.sessions)} sessions, hash {found:08x}"
    )


class _Walk:
    def __init__(self, state: State, progress: Progress) -> None:
        self._state = state
        self._progress = progress
        self.live_count = 0
        self._leased_count = 0
        self._change_count = 0  # versions that no compaction has come to

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        last: bytes | None = None
        for count, of_key in enumerate(self._state.keys.records.versions()):
            key = of_key[0][KEY]
            if last is not None and key <= last:
                raise StorageDamaged(f"the key {key!r} comes after {last!r}")
            last = key
            self._check_key(of_key)
            if count % _PROGRESS_KEYS == 0:
                self._progress("keys", count, len(self._state.keys.records))
            yield of_key

    def check_counts(self) -> None:
        keys = self._state.keys
        promised = len(keys.records)
        if self.live_count != promised:
            raise StorageDamaged(f"{promised} keys are promised, {self.live_count} are there")
        leases = self._state.leases
        attached = sum(len(found.keys) for lease in leases.ids() if (found := leases.get(lease)))
        if attached != self._leased_count:
            raise StorageDamaged(
                f"the leases claim {attached} keys, {self._leased_count} keys name a lease"
            )
        changes = sum(1 for _ in keys.records.changes(keys.compacted_revision + 1, keys.revision))
        if changes != self._change_count:
            raise StorageDamaged(
                f"the history has {changes} changes after revision {keys.compacted_revision}, the "
                f"keys have {self._change_count} versions"
            )

    def _check_key(self, versions: Sequence[KeyValue]) -> None:
        keys, before = self._state.keys, 0
        for record in versions:
            revision = record[MOD]
            if record[KEY] != versions[0][KEY] or not before < revision <= keys.revision:
                raise StorageDamaged(
                    f"the key {record[KEY]!r} has a version of revision {revision} after {before}; "
                    f"the newest revision is {keys.revision}"
                )
            before = revision
            self._change_count += revision > keys.compacted_revision
        newest = versions[-1]
        if is_tombstone(newest):
            return
        self.live_count += 1
        if newest[LEASE]:
            lease = self._state.leases.get(newest[LEASE])
            if lease is None or newest[KEY] not in lease.keys:
                raise StorageDamaged(
                    f"the key {newest[KEY]!r} names lease {newest[LEASE]:x}, which knows it not"
                )
            self._leased_count += 1
