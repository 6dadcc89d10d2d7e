"""What the tests of the RocksDB engine do to the files of a database, and how they open one."""

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metastore.engines.rocksdb.driver import BINDINGS, Driver, open_driver

LOG, META = "log", "meta"


def binding_params() -> list[Any]:
    """Every binding, for pytest; one that is not installed is skipped and says so."""
    params = []
    for name in BINDINGS:
        try:
            missing = not hasattr(importlib.import_module(name), "__path__")
        except ImportError:
            missing = True
        skip = pytest.mark.skipif(missing, reason=f"the module {name} is not installed")
        params.append(pytest.param(name, marks=skip))
    return params


@contextmanager
def opened(path: Path, name: str = "rocksdict", **arguments: Any) -> Iterator[Driver]:
    driver = open_driver(path, name=name, **arguments)
    try:
        for family in {LOG, META} - set(driver.families()):
            driver.create_family(family)
        yield driver
    finally:
        driver.close()


def newest_wal(directory: Path) -> Path:
    return max(directory.glob("*.log"))


def copied(source: Path, target: Path) -> Path:
    """As a crash of the process would leave it: `source` may be open."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))


def damage(file: Path, place: int, with_bytes: bytes | None = None) -> None:
    """Turns the bits of one byte over, or puts these bytes in its place."""
    data = bytearray(file.read_bytes())
    wrong = bytes([data[place] ^ 0xFF]) if with_bytes is None else with_bytes
    data[place : place + len(wrong)] = wrong
    file.write_bytes(data)
