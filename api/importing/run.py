"""One import from beginning to end: read everything, then write everything, and tell what was done.

Last of importing/. Nothing is written before all of it has been read and every lease is known; what
was written so far stays when it is broken off.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from metastore.api.importing.plan import Plan, Put
from metastore.api.importing.source import Source
from metastore.api.importing.target import Renewing, Target
from metastore.client.errors import InvalidRequest, PermissionDenied
from metastore.client.keys import ALL_KEYS, prefix_range

Show = Callable[[str, int, int], None]
"""(what is being done, how much of it, of how much)"""


class Wanted(NamedTuple):
    prefix: bytes = b""  # of the keys that are taken; b"": all
    is_forced: bool = False  # also into a cluster that has keys there
    is_rehearsal: bool = False  # reads, and writes nothing


class Report(NamedTuple):
    revision: int  # of the source, as of which all keys are
    newest_revision: int  # of the source at the end
    keys_count: int  # stored, or that would be
    size_bytes: int
    leases_count: int
    renumbered: tuple[tuple[int, int], ...]  # leases that got other ids, since theirs were taken
    left_out_count: int  # keys whose lease ended in the source meanwhile, and they with it
    lost_leases_count: int  # that ended here before the import did


class Import:
    """Runs once. `stored_count` of `keys_count` says how far it is, also after an error."""

    def __init__(self, source: Source, target: Target, wanted: Wanted, show: Show) -> None:
        self._source = source
        self._target = target
        self._wanted = wanted
        self._show = show
        self._range = prefix_range(wanted.prefix) if wanted.prefix else ALL_KEYS
        self.stored_count = 0
        self.keys_count = 0

    def run(self, folder: Path) -> Report:
        """`folder`: for what does not fit in memory. Raises MetastoreError, OSError."""
        if not self._wanted.is_forced and self._target.has_keys(*self._range):
            where = f" that begin with {self._wanted.prefix!r}" if self._wanted.prefix else ""
            raise InvalidRequest(
                f"the cluster has keys{where} already; --force writes among them (keys of the same "
                "name are replaced, none is deleted)"
            )
        with Plan(folder) as plan:
            revision = self._read(plan)
            leases = self._leases(plan)
            left_out = frozenset(plan.leases.difference(lease for lease, _ in leases))
            self.keys_count = plan.keys_count
            return self._write(plan, revision, leases, left_out)

    def _read(self, plan: Plan) -> int:
        source = self._source
        revision = source.revision(self._range[0])
        total = source.count(*self._range, revision)
        for page in source.keys(*self._range, revision):
            for kv in page:
                plan.add(kv.mod_revision, Put(kv.key, kv.value, kv.lease))
            self._show("reading", plan.keys_count, total)
        return revision

    def _leases(self, plan: Plan) -> list[tuple[int, int]]:
        """(lease, granted ttl) of those that keys hang on; and all others, if all keys go."""
        wanted = set(plan.leases)
        if not self._wanted.prefix:
            # Who may read keys need not be allowed to list leases.
            with suppress(PermissionDenied):
                wanted.update(self._source.leases())
        return list(self._source.granted(sorted(wanted)))

    def _write(
        self, plan: Plan, revision: int, leases: list[tuple[int, int]], left_out: frozenset[int]
    ) -> Report:
        renumbered: tuple[tuple[int, int], ...] = ()
        lost = 0
        if self._wanted.is_rehearsal:
            kept = sum(len(change) for batch in plan.batches(left_out) for change in batch)
        else:
            granted = self._target.grant(leases)
            renewing = Renewing(self._target, granted)
            for batch in plan.batches(left_out):
                self._target.write(batch, granted.ids)
                self.stored_count += sum(map(len, batch))
                self._show("writing", self.stored_count, plan.keys_count)
                renewing.renew_if_due()
            lost = renewing.renew()
            kept = self.stored_count
            renumbered = tuple(pair for pair in granted.ids.items() if pair[0] != pair[1])
        return Report(
            revision,
            self._source.revision(self._range[0]),
            kept,
            plan.size_bytes,
            len(leases),
            renumbered,
            plan.keys_count - kept,
            lost,
        )
