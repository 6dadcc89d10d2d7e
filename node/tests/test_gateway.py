"""The gateway's process: kept running, ended with its node, never a trouble to it."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metastore.node import gateway as supervised
from metastore.node.gateway import Gateway

UNTIL_STDIN_ENDS = "import sys; sys.stdin.read(); open(sys.argv[1], 'a').write('ended ')"


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def test_it_runs_until_the_node_stops_and_is_then_let_end_in_order(tmp_path: Path) -> None:
    logger, mark = Lines(), tmp_path / "mark"
    with Gateway([sys.executable, "-c", UNTIL_STDIN_ENDS, str(mark)], logger) as gateway:
        assert eventually(lambda: gateway.pid)
    assert mark.read_text() == "ended "
    assert gateway.pid == 0
    assert logger.lines == []


def test_one_that_is_killed_is_started_again_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "PAUSE_S_MIN", 0.01)
    logger = Lines()
    command = [sys.executable, "-c", UNTIL_STDIN_ENDS, str(tmp_path / "mark")]
    with Gateway(command, logger) as gateway:
        first = eventually(lambda: gateway.pid)
        os.kill(first, 9)
        assert eventually(lambda: gateway.pid not in (0, first))
    assert logger.lines[0] == (
        "the etcd gateway ended",
        {"how": "signal 9", "started_again_in_s": 0.01},
    )


def test_the_pause_doubles_up_to_its_limit_while_it_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervised, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(supervised, "PAUSE_S_MAX", 0.004)
    logger = Lines()
    with Gateway(["/no/such/program"], logger):
        eventually(lambda: len(logger.lines) >= 5)
    assert [fields["started_again_in_s"] for _, fields in logger.lines[:5]] == [
        0.001,
        0.002,
        0.004,
        0.004,
        0.004,
    ]
    assert "could not be started" in logger.lines[0][1]["how"]


def test_one_that_had_run_well_is_back_after_the_shortest_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervised, "PAUSE_S_MIN", 0.001)
    logger, times = Lines(), iter(range(0, 100_000, 100))
    with Gateway([sys.executable, "-c", ""], logger, clock=lambda: next(times)):
        eventually(lambda: len(logger.lines) >= 3)
    assert {fields["started_again_in_s"] for _, fields in logger.lines[:3]} == {0.001}


def test_one_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "STOP_S", 0.05)
    logger = Lines()
    with Gateway([sys.executable, "-c", "import time; time.sleep(600)"], logger) as gateway:
        pid = eventually(lambda: gateway.pid)
    assert "was killed" in logger.lines[0][0]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
