"""A database that is only read, for code that would like to write.

Reading order 4 of the offline tools. What is deleted is hidden, everything else that would change
the database does nothing: what recovery finds is what it would find after its own repairs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.rocksdb.driver import Driver, Row, Write

Shown: TypeAlias = tuple[str, str]
"""(the folder in which the database was opened, where it really is)"""


@contextmanager
def real_names(shown: Shown) -> Iterator[None]:
    """What is raised inside names the real files."""
    try:
        yield
    except (StorageDamaged, StorageFailed) as error:
        raise type(error)(str(error).replace(*shown)) from error


class UnwrittenDriver:
    """Implements driver.Driver over one that was opened to be read."""

    def __init__(self, driver: Driver, shown: Shown) -> None:
        self._driver = driver
        self._shown = shown
        self._hidden: list[tuple[str, bytes, bytes]] = []
        self.limits = driver.limits

    def get(self, family: str, key: bytes) -> bytes | None:
        if self._is_hidden(family, key) or family not in self.families():
            return None
        with real_names(self._shown):
            return self._driver.get(family, key)

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        if family not in self.families():
            return
        with real_names(self._shown):
            for row in self._driver.iterate(family, start, end, reverse=reverse):
                if not self._is_hidden(family, row[0]):
                    yield row

    def count(self, family: str, start: bytes, end: bytes | None) -> int:
        return sum(1 for _ in self.iterate(family, start, end))

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        raise StorageFailed("nothing is written here")

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        self._hidden.append((family, start, end))

    def sync(self) -> None:
        pass

    def flush(self, families: Sequence[str]) -> None:
        pass

    def families(self) -> Sequence[str]:
        return self._driver.families()

    def create_family(self, name: str) -> None:
        pass

    def drop_family(self, name: str) -> None:
        pass

    def checkpoint(self, path: Path) -> None:
        raise StorageFailed("nothing is written here")

    def size_bytes(self) -> int:
        return self._driver.size_bytes()

    def close(self) -> None:
        self._driver.close()

    def _is_hidden(self, family: str, key: bytes) -> bool:
        return any(name == family and start <= key < end for name, start, end in self._hidden)
