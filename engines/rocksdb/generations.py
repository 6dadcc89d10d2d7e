"""Which column families hold the data in use, and the step from one set of them to the next.

Reading order 16 of the engines. A set of families with one number in their names is a generation.
The number in use stands in the database beside the applied index, so that both change in one write.
Every other generation is a load that was not installed, or data replaced by one that was: removed
at the next start at the latest.
"""

from collections.abc import Iterator

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.rocksdb.driver import Driver, Write
from metastore.engines.rocksdb.encoding import StoreMeta, decode_store_meta, encode_store_meta
from metastore.engines.rocksdb.records import FamilyNames, family_names

META = "meta"  # the family; the log keeps its own there, too

_GENERATION, _APPLIED = b"store.generation", b"store.applied"
_FIRST = 1


class Generations:
    """Of one open database. Opening it completes what a crash cut short; raises StorageDamaged,
    StorageFailed. One owner, except where it is said."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        families = set(driver.families())
        if META not in families:
            driver.create_family(META)
        number = stored_generation(driver)
        self.current = _FIRST if number is None else number
        self._newest = self.current
        names = self.names
        # Without a number nothing was ever complete, so nothing of it is kept.
        kept = () if number is None else names
        for family, _ in _numbered(families):
            if family not in kept:
                driver.drop_family(family)
        if number is None:
            for name in names:
                driver.create_family(name)
            driver.write(self.flip(_FIRST, StoreMeta(SnapshotMeta(), 0)))
            driver.sync()
        elif missing := set(names) - families:
            raise StorageDamaged(f"the database lost its families {', '.join(sorted(missing))}")

    @property
    def names(self) -> FamilyNames:
        return family_names(self.current)

    def meta(self) -> StoreMeta:
        """As of the last batch. Raises StorageDamaged."""
        data = self._driver.get(META, _APPLIED)
        if data is None:
            raise StorageDamaged("the database does not know what was applied to it")
        return decode_store_meta(data)

    def new(self) -> int:
        """A number for a load, never used before. The one thread that loads."""
        self._newest += 1
        return self._newest

    def drop(self, number: int) -> None:
        """Any thread, of a generation nobody uses. Raises StorageFailed."""
        there = set(self._driver.families())
        for name in family_names(number):
            if name in there:
                self._driver.drop_family(name)

    def applied(self, meta: StoreMeta) -> Write:
        return META, _APPLIED, encode_store_meta(meta)

    def flip(self, number: int, meta: StoreMeta) -> list[Write]:
        """What makes a generation the one in use, with its applied index."""
        return [(META, _GENERATION, number.to_bytes(8, "big")), self.applied(meta)]


def stored_generation(driver: Driver) -> int | None:
    """The number of the generation in use, None in a database that is not complete yet."""
    number = driver.get(META, _GENERATION)
    return None if number is None else int.from_bytes(number, "big")


def _numbered(families: set[str]) -> Iterator[tuple[str, int]]:
    """The families of any generation, and its number."""
    for family in sorted(families):
        kind, _, number = family.rpartition(".")
        if kind in FamilyNames._fields and number.isdecimal():
            yield family, int(number)
