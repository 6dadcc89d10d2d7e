"""The process: every failure ends in its exit code and one clear last line; signals stop it."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.rocksdb.driver import EngineMissing
from metastore.node import logs, process
from metastore.node.exit_codes import ExitCode
from metastore.node.identity import open_data_directory
from metastore.node.raft.model import LogLost, RaftFailed
from metastore.node.settings import SettingsInvalid, parse_cluster_id
from metastore.transport.errors import BindFailed, InvariantViolated


class StubLoop:
    """Stands in for the loop: does what a test says and counts the requests to stop."""

    def __init__(
        self, on_open: Callable[[], None] = lambda: None, on_run: Callable[[], None] = lambda: None
    ) -> None:
        self._on_open, self._on_run = on_open, on_run
        self.stops_asked = 0
        self.is_open = False

    def open(self) -> None:
        self._on_open()
        self.is_open = True

    def request_stop(self) -> None:
        self.stops_asked += self.is_open

    def run(self) -> ExitCode:
        self._on_run()
        return ExitCode.OK


@pytest.fixture
def run_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[StubLoop], tuple[int, Path]]:
    data_dir = tmp_path / "data"
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(process, "_open_engine", lambda *_: (None, None))

    def run(loop: StubLoop) -> tuple[int, Path]:
        monkeypatch.setattr(process, "_make_loop", lambda *_: loop)
        return process.main(["--node-id", "1", "--data-dir", str(data_dir)]), data_dir

    return run


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


FAILURES = [
    (BindFailed("tcp://127.0.0.1:1", "Address already in use"), ExitCode.NETWORK),
    (StorageFailed("sync of wal/log-1: no space left"), ExitCode.STORAGE),
    (StorageDamaged("wal/log-1 at 17"), ExitCode.STORAGE),
    (OSError(5, "Input/output error"), ExitCode.STORAGE),
    (RaftFailed("two leaders of one term"), ExitCode.INVARIANT),
    (LogLost(), ExitCode.STORAGE),
    (InvariantViolated("a reply without a request"), ExitCode.INVARIANT),
    (SettingsInvalid("flag", "sync", "x", "always"), ExitCode.CONFIGURATION),
    (KeyError("surprise"), ExitCode.INTERNAL),
]


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("where", ["on_open", "on_run"])
def test_a_failure_ends_in_the_exit_code_of_its_class_and_one_last_line(
    run_with: Any,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: ExitCode,
    where: str,
) -> None:
    assert run_with(StubLoop(**{where: failing(error)}))[0] == code
    line = last_line(capsys)
    assert f"exit code {int(code)} ({code.name.lower()})" in line
    assert " ".join(str(error).split()) in line


def test_a_defect_shows_its_traceback_before_the_last_line(
    run_with: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with(StubLoop(on_run=failing(RaftFailed("impossible"))))
    shown = capsys.readouterr().err
    assert shown.index("Traceback") < shown.index("metastore node stopped")


def test_a_message_of_many_lines_is_one_last_line(
    run_with: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with(StubLoop(on_run=failing(StorageFailed("first\nsecond"))))
    assert last_line(capsys).endswith("storage: first second")


def test_a_stop_in_good_order_is_exit_code_0_without_a_last_line(
    run_with: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(StubLoop())[0] == 0
    assert "stopped, exit code" not in capsys.readouterr().err


def test_the_collector_of_cycles_leaves_out_what_a_running_node_holds(run_with: Any) -> None:
    counts: list[int] = []
    gc.unfreeze()
    run_with(StubLoop(on_run=lambda: counts.append(gc.get_freeze_count())))
    gc.unfreeze()
    assert counts[0] > 0


def test_nothing_is_collected_while_a_node_loads_and_all_is_as_ever_after_it(
    run_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_opening: list[bool] = []
    open_engine = process._open_engine

    def opened(*arguments: Any) -> Any:
        while_opening.append(gc.isenabled())
        return open_engine(*arguments)

    monkeypatch.setattr(process, "_open_engine", opened)
    while_running: list[bool] = []
    run_with(StubLoop(on_run=lambda: while_running.append(gc.isenabled())))
    gc.unfreeze()
    assert (while_opening, while_running) == ([False], [True])


def test_the_lock_is_given_back_after_a_failure(run_with: Any) -> None:
    _, data_dir = run_with(StubLoop(on_run=failing(StorageFailed("x"))))
    again = open_data_directory(data_dir, parse_cluster_id("metastore"), 1, "memory")
    assert again.identity.incarnation == 2
    again.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_loop_to_stop(run_with: Any, number: signal.Signals) -> None:
    loop = StubLoop(on_run=lambda: signal.raise_signal(number))
    assert run_with(loop)[0] == 0
    assert loop.stops_asked == 1


def test_a_signal_during_recovery_stops_the_loop_as_soon_as_it_can_hear(run_with: Any) -> None:
    loop = StubLoop(on_open=lambda: signal.raise_signal(signal.SIGTERM))
    run_with(loop)
    assert loop.stops_asked == 1


def test_the_handlers_of_before_are_back_afterwards(run_with: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_with(StubLoop())
    assert signal.getsignal(signal.SIGTERM) is before


IMPATIENT = """
import os, signal
from metastore.node.process import StopSignals
with StopSignals(lambda: os.write(1, b"asked\\n")):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    os.write(1, b"still here\\n")
"""


def test_the_second_signal_ends_the_process_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", IMPATIENT], capture_output=True, check=False)
    assert done.stdout == b"asked\n"
    assert done.returncode == 128 + signal.SIGTERM


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "METASTORE" not in key}
    return subprocess.run(
        [sys.executable, "-m", "metastore.node", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_a_bad_setting_is_exit_code_2_of_the_real_process() -> None:
    done = node("--node-id", "0", "--data-dir", "x")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "metastore node stopped, exit code 2 (configuration): bad setting:"
    )
    assert "node_id = '0'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_engine_that_is_not_installed_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the directory would belong to an engine that cannot run."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(process, "find_spec", lambda name: None)
    data_dir = tmp_path / "data"
    code = process.main(["--node-id", "1", "--data-dir", str(data_dir), "--engine", "rocksdb"])
    assert code == ExitCode.CONFIGURATION
    assert "pip install metastore-raft[rocksdb]" in capsys.readouterr().err
    assert not data_dir.exists()


def test_a_binding_that_cannot_be_loaded_is_a_matter_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EngineMissing("a library is missing")

    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(process, "find_spec", lambda name: name)
    monkeypatch.setattr("metastore.engines.rocksdb.store.open_driver", fail)
    data_dir = str(tmp_path / "data")
    assert process.main(["--node-id", "1", "--data-dir", data_dir, "--engine", "rocksdb"]) == 2
    assert "a library is missing; pip install" in capsys.readouterr().err


def test_a_data_directory_in_use_is_exit_code_6_of_the_real_process(tmp_path: Path) -> None:
    held = open_data_directory(tmp_path, parse_cluster_id("metastore"), 1, "memory")
    done = node("--node-id", "1", "--data-dir", str(tmp_path))
    held.close()
    assert done.returncode == 6
    assert f"in use by process {os.getpid()}" in done.stderr


def test_a_foreign_data_directory_is_exit_code_6_of_the_real_process(tmp_path: Path) -> None:
    open_data_directory(tmp_path, 5, 1, "memory").close()
    done = node("--node-id", "1", "--data-dir", str(tmp_path))
    assert done.returncode == 6
    assert "belongs to cluster_id 5" in done.stderr


def test_the_help_is_exit_code_0() -> None:
    done = node("--help")
    assert done.returncode == 0
    assert "--data-dir PATH" in done.stdout


def test_a_taken_port_is_exit_code_5_of_the_real_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        flags = ["--node-id", "1", "--data-dir", str(tmp_path / "data"), "--peer-bind", address]
        done = node(*flags, *free_ports("client", "status", "snapshot"))
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith(
        f"metastore node stopped, exit code 5 (network): network: cannot listen on {address}"
    )


def free_ports(*sockets: str) -> list[str]:
    return [part for name in sockets for part in (f"--{name}-bind", "tcp://127.0.0.1:0")]


def test_a_real_node_starts_stops_at_sigterm_and_never_starts_again_without_its_log(
    tmp_path: Path,
) -> None:
    flags = free_ports("peer", "client", "status", "snapshot")
    command = [sys.executable, "-m", "metastore.node", "--node-id", "1", "--log-format", "json"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "data"), *flags],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert any('"event": "node started"' in line for line in running.stderr)
        running.terminate()
        shown = running.stderr.read()
        running.wait()
    assert running.returncode == 0, shown
    assert '"event": "node stopped"' in shown
    shutil.rmtree(tmp_path / "data" / "wal")
    wiped = node("--node-id", "1", "--data-dir", str(tmp_path / "data"), *flags)
    assert wiped.returncode == 3
    assert "has lost its log" in wiped.stderr.splitlines()[-1]
