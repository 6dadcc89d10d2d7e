"""Who was refused is counted always and logged once, and strangers grow neither memory nor log."""

import pytest

from metastore.transport.limits import (
    REFUSAL_REASONS_MAX,
    STRANGERS_FORGOTTEN_SECONDS,
    STRANGERS_MAX,
)
from metastore.transport.refusals import OTHER_REASON, Refusals


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_is_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for _ in range(3):
        refusals.note("client", "key K", "not known", "10.0.0.1")
    assert refusals.as_dict() == {"client": {"not known": 3}}
    assert [record.getMessage() for record in caplog.records] == [
        "refused a connection to the client socket from key K at 10.0.0.1: not known"
    ]


def test_another_socket_reason_or_key_is_another_line(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refusals.note("client", "key K", "not known")
    refusals.note("peer", "key K", "not known")
    refusals.note("peer", "key L", "not known")
    refusals.note("peer", "key L", "a client's")
    assert len(caplog.records) == 4


def test_a_flood_of_keys_fills_the_memory_once_and_is_then_only_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(Clock())
    for number in range(STRANGERS_MAX * 10):
        refusals.note("client", f"key {number}", "not known")
    assert refusals.as_dict() == {"client": {"not known": STRANGERS_MAX * 10}}
    assert len(caplog.records) == STRANGERS_MAX + 1
    assert "only counted" in caplog.records[-1].getMessage()


def test_after_a_while_the_memory_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    refusals = Refusals(clock)
    for number in range(STRANGERS_MAX + 1):
        refusals.note("client", f"key {number}", "not known")
    clock.now += STRANGERS_FORGOTTEN_SECONDS
    caplog.clear()
    refusals.note("client", "key of an honest mistake", "not known")
    assert "honest" in caplog.records[0].getMessage()


def test_a_flood_of_reasons_is_counted_together() -> None:
    refusals = Refusals()
    for number in range(REFUSAL_REASONS_MAX + 5):
        refusals.count("client", f"reason {number}")
    counts = refusals.as_dict()["client"]
    assert len(counts) == REFUSAL_REASONS_MAX + 1
    assert counts[OTHER_REASON] == 5
