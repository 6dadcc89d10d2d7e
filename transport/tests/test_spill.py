"""Sorting with files gives what sorting in memory gives, and leaves nothing behind."""

from pathlib import Path
from random import Random

import pytest

from metastore.transport import spill
from metastore.transport.spill import SpillingSorter, TooMuchToSort


def rows(count: int) -> list[tuple[bytes, int, tuple[bytes, int]]]:
    draw = Random(7)
    drawn = [(draw.randbytes(draw.randrange(9)), number, (b"v", number)) for number in range(count)]
    draw.shuffle(drawn)
    return drawn


@pytest.mark.parametrize("run_bytes", [1, 5000, spill.RUN_BYTES])
def test_what_comes_out_is_sorted_whatever_the_size_of_the_runs(
    tmp_path: Path, run_bytes: int
) -> None:
    drawn = rows(200)
    with SpillingSorter(tmp_path, run_bytes=run_bytes) as sorter:
        for row in drawn:
            sorter.add(row, len(row[0]))
        assert (sorter.runs_count > 1) == (run_bytes < spill.RUN_BYTES)
        assert list(sorter.sorted()) == sorted(drawn)


def test_the_files_have_no_names(tmp_path: Path) -> None:
    with SpillingSorter(tmp_path, run_bytes=1) as sorter:
        sorter.add((1,), 0)
        sorter.add((2,), 0)
        assert sorter.runs_count == 2
        assert list(tmp_path.iterdir()) == []


def test_a_value_of_many_megabytes_comes_back(tmp_path: Path) -> None:
    value = bytes(101 << 20)
    with SpillingSorter(tmp_path, run_bytes=1) as sorter:
        sorter.add((1, value), len(value))
        assert next(sorter.sorted()) == (1, value)


def test_more_runs_than_files_may_be_open_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "RUNS_MAX", 2)
    with SpillingSorter(tmp_path, run_bytes=1) as sorter:
        sorter.add((1,), 0)
        sorter.add((2,), 0)
        with pytest.raises(TooMuchToSort):
            sorter.add((3,), 0)
