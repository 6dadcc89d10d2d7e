"""Records of the RocksDB engine for tests, in a database of their own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metastore.engines.records import KeyValue
from metastore.engines.rocksdb.driver import Driver, open_driver
from metastore.engines.rocksdb.records import RocksRecords, family_names


class WrittenRecords(RocksRecords):
    """Ends a batch after every `each` changes, as a store does after an apply; 0: never."""

    def __init__(self, driver: Driver, each: int) -> None:
        super().__init__(driver, family_names(1))
        self.driver = driver
        self.each = each
        self.made = 0

    def put(self, record: KeyValue, previous: KeyValue | None) -> None:
        super().put(record, previous)
        self.end_batch()

    def delete(self, grave: KeyValue, previous: KeyValue) -> None:
        super().delete(grave, previous)
        self.end_batch()

    def compact(self, revision: int, changes_max: int) -> tuple[bool, int]:
        result = super().compact(revision, changes_max)
        self.end_batch()
        return result

    def end_batch(self) -> None:
        self.made += 1
        if self.each and self.made % self.each == 0:
            self.driver.write(self.take_writes())


@contextmanager
def rocks_records(each: int, name: str | None = None) -> Iterator[WrittenRecords]:
    with tempfile.TemporaryDirectory() as directory:
        driver = open_driver(Path(directory) / "database", name=name, cache_bytes=1 << 20)
        try:
            for family in family_names(1):
                driver.create_family(family)
            yield WrittenRecords(driver, each)
        finally:
            driver.close()
