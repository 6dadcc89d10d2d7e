"""The ordered index against a sorted dict, across the point where waiting keys are sorted in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metastore.engines.memory import index as index_module
from metastore.engines.memory.index import MemoryIndex

KEYS = st.binary(min_size=1, max_size=2)


def record(key: bytes, version: int = 1) -> tuple[bytes, bytes, int, int, int, int]:
    return (key, b"v", 1, 1, version, 0)


@pytest.fixture(autouse=True)
def few_keys_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "UNSORTED_KEYS_MAX", 5)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(steps=st.lists(st.tuples(KEYS, st.sampled_from("pprc")), max_size=60), end=KEYS)
def test_the_index_is_a_sorted_dict(steps: list[tuple[bytes, str]], end: bytes) -> None:
    index, model = MemoryIndex(), {}
    for version, (key, step) in enumerate(steps):
        if step == "p":
            change = index.replace if key in model else index.insert
            change(key, record(key, version))
            model[key] = record(key, version)
        elif step == "r" and key in model:
            index.remove(key)
            del model[key]
        elif step == "c":
            assert index.count(key, end) == len([k for k in model if key <= k < end])
    expected = [model[key] for key in sorted(model)]
    assert index.select(b"\x00", None, 0) == expected
    assert index.select(b"\x00", None, 3) == expected[:3]
    assert [key for key, _ in index.scan()] == sorted(model)
    assert len(index) == len(model)
    assert all(index.get(key) == model.get(key) for key, _ in steps)


def test_a_copy_does_not_follow_the_index() -> None:
    index = MemoryIndex([record(b"a"), record(b"b")])
    records, keys = index.copy()
    index.remove(b"a")
    index.insert(b"c", record(b"c"))
    index.replace(b"b", record(b"b", 2))
    assert keys == [b"a", b"b"]
    assert records == {b"a": record(b"a"), b"b": record(b"b")}


def test_keys_that_wait_for_their_order_are_limited() -> None:
    index = MemoryIndex()
    for place in range(100):
        index.insert(b"%03d" % place, record(b"%03d" % place))
        assert len(index._unsorted) < 5
