"""The log against a list: whatever is appended, compacted and reopened, they are equal."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from metastore.engines.contract import LogRecord, RaftLog, SnapshotMeta
from metastore.engines.memory.wal import WriteAheadLog
from metastore.engines.rocksdb.driver import open_driver
from metastore.engines.rocksdb.log import RocksLog


class LogIsAList(RuleBasedStateMachine):
    """For any engine; a subclass opens its log."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.entries: list[LogRecord] = []
        self.snapshot = SnapshotMeta()
        self.hard_state = (0, 0, 0)
        self.term = 1
        self.log = self.opened()
        self.log.recover()

    def opened(self) -> RaftLog:
        raise NotImplementedError

    def closed(self) -> None:
        self.log.close()

    def wanted_size_bytes(self) -> int:
        raise NotImplementedError

    @property
    def last_index(self) -> int:
        return self.snapshot.index + len(self.entries)

    @rule(data=st.lists(st.binary(max_size=60), min_size=1, max_size=5), back=st.integers(0, 4))
    def append(self, data: list[bytes], back: int) -> None:
        first = max(self.snapshot.index, self.last_index - back) + 1
        if first <= self.last_index:
            self.term += 1
        new = [LogRecord(self.term, first + place, 0, item) for place, item in enumerate(data)]
        del self.entries[first - self.snapshot.index - 1 :]
        self.entries += new
        self.log.append(new, None, None)

    @rule(voted_for=st.integers(0, 5))
    def vote(self, voted_for: int) -> None:
        self.term += 1
        self.hard_state = (self.term, voted_for, self.snapshot.index)
        self.log.append([], self.hard_state, None)

    @rule(keep=st.integers(0, 9))
    def compact(self, keep: int) -> None:
        index = self.last_index - keep
        if index > self.snapshot.index:
            place = index - self.snapshot.index
            self.snapshot = SnapshotMeta(index, self.entries[place - 1].term, b"%d" % index)
            del self.entries[:place]
            self.log.compact(self.snapshot)

    @rule(ahead=st.integers(-3, 3))
    def install(self, ahead: int) -> None:
        index = self.last_index + ahead
        if index > self.snapshot.index:
            self.term += 1
            self.snapshot = SnapshotMeta(index, self.term, b"installed")
            self.entries = []
            self.log.append([], None, self.snapshot)

    @rule()
    def sync(self) -> None:
        self.log.sync()

    @rule()
    def reopen(self) -> None:
        self.closed()
        self.log = self.opened()
        recovered = self.log.recover()
        assert list(recovered.entries) == self.entries
        assert recovered.snapshot == self.snapshot
        assert recovered.hard_state[:2] == self.hard_state[:2]
        assert not recovered.warnings

    @invariant()
    def size_is_that_of_what_is_there(self) -> None:
        assert self.log.size_bytes() == self.wanted_size_bytes()

    def teardown(self) -> None:
        self.reopen()
        self.closed()
        self.directory.cleanup()


class MemoryLogIsAList(LogIsAList):
    def opened(self) -> RaftLog:
        return WriteAheadLog(Path(self.directory.name), segment_bytes_max=250)

    def wanted_size_bytes(self) -> int:
        return sum(path.stat().st_size for path in Path(self.directory.name).iterdir())


class RocksLogIsAList(LogIsAList):
    def opened(self) -> RaftLog:
        self.driver = open_driver(Path(self.directory.name), name="rocksdict")
        return RocksLog(self.driver)

    def closed(self) -> None:
        super().closed()
        self.driver.close()

    def wanted_size_bytes(self) -> int:
        return sum(8 + 4 + 12 + len(entry.data) for entry in self.entries)


def limited(examples_max: int) -> settings:
    return settings(
        max_examples=examples_max,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


MemoryLogIsAList.TestCase.settings = limited(150)
TestTheMemoryLogIsAList = MemoryLogIsAList.TestCase
RocksLogIsAList.TestCase.settings = limited(25)  # opening a database takes a while
TestTheRocksLogIsAList = pytest.mark.skipif(
    find_spec("rocksdict") is None, reason="rocksdict is not installed"
)(RocksLogIsAList.TestCase)
