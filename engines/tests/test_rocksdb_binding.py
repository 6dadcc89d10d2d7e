"""How a binding to RocksDB is found, and how a driver ends while other threads are inside of it."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rocksdb_files import LOG, binding_params, opened

from metastore.engines.contract import StorageFailed
from metastore.engines.rocksdb import driver as driver_module
from metastore.engines.rocksdb.driver import EngineMissing, end_iterators, open_driver


def test_a_binding_that_is_missing_is_asked_for_by_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "find_spec", lambda _: None)
    with pytest.raises(EngineMissing, match=r"pip install metastore-raft\[rocksdb\]"):
        open_driver(tmp_path)
    monkeypatch.setitem(sys.modules, "metastore.engines.rocksdb.rocksdict_driver", None)
    with pytest.raises(EngineMissing, match=r"pip install metastore-raft\[rocksdb\]"):
        open_driver(tmp_path, name="rocksdict")
    with pytest.raises(EngineMissing, match="leveldb"):
        open_driver(tmp_path, name="leveldb")


def test_another_module_of_the_name_rocksdb_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "rocksdb.py").write_text("class Database: ...\n")
    program = (
        "from pathlib import Path\n"
        "from metastore.engines.rocksdb.driver import EngineMissing, open_driver\n"
        "try: open_driver(Path('data'), name='rocksdb')\n"
        "except EngineMissing as error: raise SystemExit(f'missing: {error}')\n"
    )
    path = ":".join([str(tmp_path), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "missing:" in ran.stderr
    assert "another module" in ran.stderr


@pytest.mark.parametrize("name", binding_params())
def test_the_drivers_say_what_they_cannot_promise(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, name) as driver:
        limits = driver.limits
    if name == "rocksdict":
        assert any("last write" in limit for limit in limits)
    else:
        assert any("middle" in limit for limit in limits)


class SlowDatabase:
    """The first `get` takes until the test lets it go."""

    def __init__(self) -> None:
        self.entered, self.released = Event(), Event()
        self.calls: list[str] = []

    def get(self, _: object) -> bytes:
        self.calls.append("get")
        self.entered.set()
        self.released.wait()
        self.calls.append("got")
        return b"1"

    def close(self) -> None:
        self.calls.append("close")


@pytest.mark.parametrize("name", binding_params()[1:])
def test_the_module_is_closed_once_nobody_is_inside_and_nobody_comes_in(
    tmp_path: Path, name: str
) -> None:
    """A call that it meets after its close kills the process."""
    slow = SlowDatabase()
    with opened(tmp_path, name) as driver, ThreadPoolExecutor(2) as threads:
        inner: Any = driver
        inner._database, database = slow, inner._database
        reading = threads.submit(driver.get, LOG, b"a")
        try:
            slow.entered.wait()
            closing = threads.submit(driver.close)
            while not inner._is_closed:
                pass
            with pytest.raises(StorageFailed, match="closed"):
                driver.iterate(LOG, b"", None)
            with pytest.raises(StorageFailed, match="closed"), inner._call():
                pytest.fail("came in")
        finally:
            slow.released.set()
        closing.result()
        assert reading.result() == b"1"
        assert slow.calls == ["get", "got", "close"]
        database.close()


def test_a_scan_that_another_thread_is_inside_of_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, released = Event(), Event()

    def rows() -> Iterator[Any]:
        entered.set()
        released.wait()
        yield from [(b"a", b"1"), (b"b", b"2")]

    scan: Any = rows()
    monkeypatch.setattr(driver_module, "sleep", lambda _: released.set())
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(next, scan)
        entered.wait()
        try:
            end_iterators([scan])
        finally:
            released.set()
        assert reading.result() == (b"a", b"1")
    assert list(scan) == []
