"""A key is found in all ranges that it is in, and in no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.engines import watched_ranges
from metastore.engines.watched_ranges import (
    Range,
    WatchedRanges,
    is_in_range,
    normal_range_or_none,
)

KEYS = st.binary(max_size=2)
EVERYTHING: Range = (b"\0", b"\0")


@pytest.mark.parametrize(
    ("key", "range_end", "normal"),
    [
        (b"a", b"", (b"a", b"")),
        (b"", b"", (b"\0", b"")),
        (b"", b"\0", EVERYTHING),
        (b"a", b"\0", (b"a", b"\0")),
        (b"a", b"b", (b"a", b"b")),
        (b"a", b"a", None),
        (b"b", b"a", None),
        (b"", b"a", (b"\0", b"a")),
    ],
)
def test_a_range_has_one_spelling(key: bytes, range_end: bytes, normal: Range | None) -> None:
    assert normal_range_or_none(key, range_end) == normal


RANGES = st.tuples(KEYS, KEYS).map(lambda pair: normal_range_or_none(*pair)).filter(bool)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "put", "remove", "find"]), RANGES, KEYS))


@given(STEPS, st.sampled_from([0, 1 << 20]))
def test_a_key_is_found_in_all_its_ranges_and_no_other(
    steps: list[tuple[str, Range, bytes]], kept_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watched_ranges, "KEPT_RANGES_MAX", kept_max)
        ranges: WatchedRanges[Range] = WatchedRanges()
        model: set[Range] = set()
        for step, watched, key in steps:
            if step == "put" and watched not in model:
                ranges.put(watched, watched)
                model.add(watched)
            elif step == "remove" and model:
                oldest = min(model)
                ranges.remove(oldest)
                model.remove(oldest)
            for probe in (key, *watched):
                expected = sorted(it for it in model if is_in_range(probe, it))
                assert sorted(ranges.find(probe)) == expected
            assert ranges.get(watched) == (watched if watched in model else None)
        assert set(ranges) == model


def test_what_is_kept_of_nested_ranges_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_ranges, "KEPT_RANGES_MAX", 200)
    ranges: WatchedRanges[Range] = WatchedRanges()
    for number in range(100):
        watched = (b"%02d" % number, b"~")
        ranges.put(watched, watched)
    for number in range(100):
        assert len(ranges.find(b"%02d" % number)) == number + 1
        assert sum(map(len, ranges._kept.values())) <= 200 + 100


def test_ranges_are_looked_through_once_per_gap_not_per_key() -> None:
    ranges: WatchedRanges[Range] = WatchedRanges()
    for number in range(100):
        watched = (b"%02d" % number, b"%02d~" % number)
        ranges.put(watched, watched)
    first = ranges.find(b"42")
    assert first == ((b"42", b"42~"),)
    assert all(ranges.find(b"42%d" % n) is first for n in range(1000))
