"""A session starts, watches and stops node processes; here they are stubs that speak status
only."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cluster import folders, layout, processes, status
from cluster.layout import ClusterLayout, LayoutFailed, NodeLayout
from cluster.session import LaunchFailed, Session

STUB = Path(__file__).parent / "stub_node.py"
Make = Callable[[str], Session]


@pytest.fixture(autouse=True)
def _stub_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes.command

    def stubbed(laid: ClusterLayout, node: NodeLayout, extra: Sequence[str] = ()) -> list[str]:
        return [sys.executable, str(STUB), *real(laid, node, extra)[2:]]

    monkeypatch.setattr(processes, "command", stubbed)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    sessions: list[Session] = []

    def session(behaviour: str) -> Session:
        laid = replace(folders.prepare(tmp_path, 3, None, None), engine=behaviour)
        sessions.append(Session(tmp_path, laid))
        layout.write(tmp_path, laid)
        return sessions[-1]

    yield session
    for one in sessions:
        for child in one.children.values():
            child.kill()
            child.wait()


def test_a_cluster_comes_up_and_is_stopped(make: Make, tmp_path: Path) -> None:
    session = make("memory")
    session.start(session.laid.nodes)
    answers = session.wait_for_leader()
    assert status.agreed_leader(answers) == 1
    assert [answer.status["node_id"] for answer in answers] == [1, 2, 3]
    recorded = layout.read(tmp_path)
    assert recorded is not None
    assert all(processes.is_running(node) for node in recorded.nodes)
    assert session.stop() == []
    assert not any(processes.is_running(node) for node in recorded.nodes)


def test_a_node_that_dies_at_start_is_shown_with_the_end_of_its_log(make: Make) -> None:
    session = make("dies")
    session.start(session.laid.nodes)
    session.children[2].wait()
    with pytest.raises(LaunchFailed, match=r"node 2 ended with exit code 1.*(\n.*)*its reasons"):
        session.wait_for_leader()


def test_nodes_without_a_leader_are_given_up_with_a_table(make: Make) -> None:
    session = make("leaderless")
    session.start(session.laid.nodes)
    with pytest.raises(LaunchFailed, match="agreed on no leader"):
        session.wait_for_leader(seconds=0.0)


def test_a_node_that_ignores_sigterm_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make("stubborn")
    session.start(session.laid.nodes)
    session.wait_for_leader()  # from here on the signal is ignored
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.0)
    assert session.stop() == [1, 2, 3]
    assert not any(processes.is_running(node) for node in session.laid.nodes)


def test_a_death_is_reported_and_the_rest_are_watched_on(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    session = make("memory")
    session.start(session.laid.nodes)
    session.wait_for_leader()
    for child in session.children.values():
        child.send_signal(signal.SIGKILL)
        child.wait()
    session.watch()  # returns because nobody is left
    said = capsys.readouterr().out
    assert "node 3 was killed by SIGKILL" in said
    assert f"--data-dir {session.directory} --start 3" in said


def test_stop_reaches_a_node_that_another_process_started(make: Make, tmp_path: Path) -> None:
    session = make("memory")
    session.start(session.laid.nodes[:2])
    other = Session(tmp_path, session.laid)
    other.start([session.laid.node(3)])
    process = other.children[3]
    assert session.stop() == []
    assert process.wait() == -signal.SIGTERM


def test_a_running_cluster_is_not_started_twice(make: Make, tmp_path: Path) -> None:
    session = make("memory")
    session.start(session.laid.nodes)
    with pytest.raises(LayoutFailed, match="runs already"):
        folders.prepare(tmp_path, None, None, None)


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(make: Make) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        node = replace(make("memory").laid.node(1), pid=stranger.pid)
        assert not processes.is_running(node)
        assert processes.stop([node]) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_zombie_is_dead(make: Make) -> None:
    session = make("memory")
    session.start(session.laid.nodes[:1])
    child = session.children[1]
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet reaped
    assert not processes.is_running(session.laid.node(1))


def test_a_node_gets_every_address_and_every_member(make: Make) -> None:
    laid = make("memory").laid
    line = processes.command(laid, laid.node(2))
    assert line[line.index("--node-id") + 1] == "2"
    assert line[line.index("--cluster-id") + 1] == laid.cluster_id
    assert line.count("--member") == 3
    node = laid.node(2)
    assert f"2={node.peer},{node.client},{node.status},{node.snapshot}" in line


def test_the_scripts_own_variables_do_not_reach_a_node() -> None:
    ours = {"METASTORE_PYTHON": "x", "METASTORE_PYTHON_ENTERED": "x", "METASTORE_SYNC": "never"}
    assert processes.environment(ours) == {"METASTORE_SYNC": "never"}
