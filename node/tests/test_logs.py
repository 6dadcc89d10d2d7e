"""Logs: one structured line per event, and never a wait for whoever reads them."""

import contextlib
import fcntl
import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from metastore.node import logs
from metastore.node.raft.configuration import Configuration
from metastore.node.raft.events import EventKind


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.getLogger("metastore").handlers.clear()
    logging.getLogger("metastore").setLevel(logging.NOTSET)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def json_lines(level: str, *events: tuple[EventKind, dict[str, Any]]) -> list[dict[str, object]]:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    trace = logs.core_tracer(logs.get_logger(node_id=1), level)
    for kind, fields in events:
        trace(kind, fields)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


LEADER = (EventKind.BECAME_LEADER, {"id": 26, "term": 3})
DROPPED = (EventKind.DROPPED, {"id": 1, "type": "MsgApp", "sender": 2, "reason": "stale"})


def test_an_event_of_the_core_is_a_line_with_its_sentence_and_fields() -> None:
    (line,) = json_lines("info", LEADER)
    assert line.pop("timestamp")
    assert line == {
        "event": "1a became leader at term 3",
        "level": "info",
        "kind": "became_leader",
        "node_id": 1,
        "id": 26,
        "term": 3,
    }


def test_a_field_that_is_no_plain_value_is_shown_by_its_own_text() -> None:
    configuration = Configuration(voters=frozenset((1, 2)))
    fields = {"id": 1, "configuration": configuration}
    (line,) = json_lines("info", (EventKind.CONFIGURATION_SWITCHED, fields))
    assert line["configuration"] == str(configuration)
    assert line["id"] == 1


def test_debug_events_are_lines_only_at_debug() -> None:
    assert json_lines("info", DROPPED) == []
    (line,) = json_lines("debug", DROPPED)
    assert (line["level"], line["reason"]) == ("debug", "stale")


def test_an_event_below_the_level_builds_no_sentence() -> None:
    assert json_lines("error", (EventKind.BECAME_LEADER, {})) == []


def test_console_lines_are_for_people() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    logs.get_logger(node_id=4).info("node started", sync="always")
    assert "node started" in stream.getvalue()
    assert "sync=always" in stream.getvalue()


def test_lines_of_the_standard_librarys_logging_are_structured_too() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    log = logging.getLogger("metastore.transport.peers")
    log.debug("not shown")
    log.warning("peer %d is %s", 2, "refused")
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["event"], line["level"]) == ("peer 2 is refused", "warning")
    assert line["part"] == "metastore.transport.peers"


def test_configuring_again_doubles_no_line() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logs.configure("info", "json", stream)
    logging.getLogger("metastore.engines").error("once")
    assert len(stream.getvalue().splitlines()) == 1


def test_an_exception_is_part_of_its_line() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    try:
        raise ValueError("why")
    except ValueError:
        logs.get_logger().exception("failed")
    assert "ValueError: why" in json.loads(stream.getvalue())["exception"]


def test_a_reader_that_has_stopped_costs_lines_and_never_a_wait(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    capacity = fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
    os.write(descriptor, bytes(capacity))
    writer = logs.LossyWriter(descriptor)
    writer.write("one\n")
    writer.write("two\n")
    assert writer.lost == 2
    assert os.read(reader, capacity) == bytes(capacity)
    writer.write("three\n")
    assert os.read(reader, 4096) == b"(2 log lines were lost before this one)\nthree\n"
    assert writer.lost == 0


def test_a_line_longer_than_a_pipe_surely_takes_is_cut(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    logs.LossyWriter(descriptor).write("x" * 100_000 + "\n")
    line = os.read(reader, 200_000)
    assert len(line) <= 4096
    assert line.endswith(b"x...\n")


def test_a_reader_that_is_gone_costs_lines_only(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    os.close(reader)
    writer = logs.LossyWriter(descriptor)
    writer.write("one\n")
    assert writer.lost == 1


@pytest.mark.parametrize(("level", "is_written"), [("info", False), ("debug", True)])
def test_the_everyday_events_of_a_busy_disk_are_debug_lines(level: str, is_written: bool) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    trace = logs.core_tracer(logs.get_logger(node_id=1), level)
    trace(EventKind.STABLE_ENTRY_MISSING, {"index": 7})
    assert ("stable_entry_missing" in stream.getvalue()) is is_written
