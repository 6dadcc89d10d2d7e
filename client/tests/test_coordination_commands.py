"""The commands by which shells work together, against scripted nodes: what they print as long as
they run, signals and exit codes; and how all commands of the store explain themselves."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import Result
from line_play import play
from watch_talk import tell, watches

from metastore.client.command import interrupts
from metastore.client.lease import Belief
from metastore.transport import schema, watch_frames

WAIT_S = 20.0
Run = Callable[..., Result]


@contextmanager
def running(cluster: Any, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command in a process of its own; killed if it does not end with the block."""
    command = [sys.executable, "-m", "metastore.client.command.main"]
    command += ["--endpoints", cluster.leader.client_address, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        watchdog = threading.Timer(WAIT_S, process.kill)
        watchdog.start()
        try:
            yield process
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            watchdog.cancel()


def line_of(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline().rstrip(b"\n")


def errors_of(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("put", "a"), "give a VALUE"),
        (("put", "a", "1", "--ignore-value"), "give a VALUE"),
        (("put", "a", "1", "--lease", "1", "--ignore-lease"), "exclude each other"),
        (("put", "a", "1", "--lease", "x"), "'x' is no lease"),
        (("del", "a", "--prefix", "--range-end", "b"), "exclude each other"),
        (("txn", "--if", "value a = 1"), "does nothing"),
        (("txn", "--then", "jump"), "'jump' is no operation"),
        (("elect", "chief"), "give a VALUE"),
        (("elect", "chief", "a", "--listen"), "give a VALUE"),
        (("lease", "ttl", "x"), "is no lease"),
        (("compact", "0"), "0 is not in the range"),
    ],
)
def test_wrong_usage_leaves_with_2_and_says_what_is_right(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert words in found.stderr


def test_every_command_explains_itself_with_an_example(run: Run) -> None:
    for command in ("put", "get", "del", "txn", "watch", "lock", "elect", "compact", "hash"):
        assert f"  metastore {command} " in run(command, "--help").stdout
    for command in ("grant", "revoke", "keep-alive", "ttl", "list"):
        assert f"  metastore lease {command}" in run("lease", command, "--help").stdout


def test_watch_prints_at_once_goes_on_by_itself_and_ends_with_ctrl_c(cluster: Any) -> None:
    node = cluster.leader
    with running(cluster, "watch", "a", "--prefix", "--prev") as process:
        node.wait_for(lambda: len(watches(node)) == 1)
        before = (b"a", b"1", 2, 2, 1, 0)
        tell(node, 3, ((b"a", b"2", 2, 3, 2, 0), before))
        assert line_of(process) == b"put\ta\t2\t1"
        node.break_connections()
        node.wait_for(lambda: len(watches(node)) == 2)
        tell(node, 4, ((b"a", b"", 0, 4, 0, 0), None))
        assert line_of(process) == b"delete\ta"
        process.send_signal(signal.SIGINT)
        assert errors_of(process) == b""
    assert process.returncode == 0


def test_watch_prints_json_and_says_when_its_changes_were_compacted(cluster: Any) -> None:
    node = cluster.leader
    with running(cluster, "watch", "a", "--json", "--rev", "2") as process:
        node.wait_for(lambda: len(watches(node)) == 1)
        tell(node, 3, ((b"a", b"\xff", 2, 3, 2, 255), (b"a", b"1", 2, 2, 1, 0)))
        assert json.loads(line_of(process)) == {
            **{"kind": "put", "revision": 3, "key": "a", "value_base64": "/w=="},
            **{"version": 2, "lease": "ff", "previous_value": "1"},
        }
        node.tell(watch_frames.encode_canceled(watches(node)[-1].request_id, 9, "compacted"))
        assert b"the oldest revision is 9" in errors_of(process)
    assert process.returncode == 1


def test_a_lease_is_kept_alive_until_ctrl_c(cluster: Any) -> None:
    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 60]
    with running(cluster, "lease", "keep-alive", "5f") as process:
        assert line_of(process) == b"5f 60"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_command_runs_under_the_lock_with_its_token_and_its_exit_code_is_kept(
    run: Run, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    play(cluster)
    script = 'echo "$METASTORE_LOCK_KEY $METASTORE_FENCING_TOKEN"; exit 7'
    done = run("lock", "jobs", "--", "sh", "-c", script)
    assert done.exit_code == 7
    key, token = capfd.readouterr().out.split()
    assert key.startswith("jobs/")
    assert int(token) == 2
    assert cluster.data == {}
    assert run("lock", "jobs", "--", "sh", "-c", "kill -9 $$").exit_code == 137
    missing = run("lock", "jobs", "--", "./no-such-command")
    assert (missing.exit_code, "cannot run ./no-such-command" in missing.stderr) == (127, True)
    assert cluster.data == {}


def test_a_lock_that_is_not_to_be_had_in_time_leaves_with_1(run: Run, cluster: Any) -> None:
    play(cluster)
    run("put", "jobs/other", "")
    found = run("lock", "--wait", "0.05", "jobs", "--", "touch", "ran")
    assert (found.exit_code, "not to be had in time" in found.stderr) == (1, True)
    assert not os.path.exists("ran")
    assert list(cluster.data) == [b"jobs/other"]


def test_the_command_is_stopped_when_the_lock_is_lost(
    run: Run, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(cluster)
    started: list[Belief] = []
    remaining = Belief.remaining

    def lose_at_the_second_look(belief: Belief) -> float:
        if started:
            belief._lose("the cluster has ended it")
        started.append(belief)
        return min(0.05, remaining(belief))

    monkeypatch.setattr(Belief, "remaining", lose_at_the_second_look)
    found = run("lock", "jobs", "--", "sleep", "60")
    assert found.exit_code == 1
    assert "the lock is lost; stopping the command" in found.stderr
    assert "the cluster has ended it" in found.stderr


def test_a_lock_without_a_command_is_held_until_ctrl_c(cluster: Any) -> None:
    play(cluster)
    with running(cluster, "lock", "jobs") as process:
        key, token = line_of(process).split(b"\t")
        assert cluster.data[key][2] == int(token)
        process.send_signal(signal.SIGINT)
        assert errors_of(process) == b""
    assert (process.returncode, cluster.data) == (0, {})


@pytest.mark.parametrize("arguments", [("lock", "jobs"), ("elect", "chief", "host-a")])
def test_who_interrupts_as_soon_as_the_line_is_out_ends_it_in_peace(
    run: Run, cluster: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    play(cluster)

    def interrupt(line: bytes) -> None:
        assert line.split(b"\t")[0] in cluster.data
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "write_line_now", interrupt)
    done = run(*arguments)
    assert (done.exit_code, done.stderr, cluster.data) == (0, "", {})


def test_the_command_under_a_lock_gets_the_signals(cluster: Any) -> None:
    play(cluster)
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    with running(cluster, "lock", "jobs", "--", "sh", "-c", script) as process:
        assert line_of(process) == b"ready"
        process.send_signal(signal.SIGTERM)
    assert (process.returncode, cluster.data) == (5, {})


def test_a_signal_that_comes_while_the_command_is_being_started_reaches_it(
    run: Run, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(cluster)

    class Early(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            signal.raise_signal(signal.SIGTERM)  # nobody has this process in hand yet

    monkeypatch.setattr(subprocess, "Popen", Early)
    assert run("lock", "jobs", "--", "sleep", "60").exit_code == 128 + signal.SIGTERM
    assert cluster.data == {}


def test_the_elected_one_leads_until_ctrl_c_and_spectators_see_it(cluster: Any) -> None:
    play(cluster)
    node = cluster.leader
    with running(cluster, "elect", "chief", "host-a") as process:
        key, _ = line_of(process).split(b"\t")
        with running(cluster, "elect", "--listen", "chief") as spectator:
            assert line_of(spectator) == key + b"\thost-a"
            node.wait_for(lambda: len(watches(node)) == 1)
            spectator.send_signal(signal.SIGINT)
            assert errors_of(spectator) == b""
        process.send_signal(signal.SIGINT)
        assert errors_of(process) == b""
    assert (process.returncode, spectator.returncode, cluster.data) == (0, 0, {})
