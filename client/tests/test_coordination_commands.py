"""The commands by which shells work together, against scripted nodes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from line_play import play, watches

from metastore.client.command.main import cli
from metastore.client.lease import Belief
from metastore.transport import schema, watch_frames

WAIT_S = 20.0
Run = Callable[..., Result]


@pytest.fixture
def run(cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METASTORE_ENDPOINTS", cluster.leader.client_address)
    return lambda *arguments, **options: CliRunner().invoke(cli, arguments, **options)


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


def tell(node: Any, revision: int, *events: Any) -> None:
    data = watch_frames.encode_event_list(events)
    request_id = watches(node)[-1].request_id
    node.tell(watch_frames.encode_events(request_id, revision, data))


def test_get_reads_ranges_sorted_limited_counted_and_as_of_a_revision(
    run: Run, cluster: Any
) -> None:
    play(cluster)
    for key in ("b", "a", "c"):
        run("put", key, "v" + key)
    assert run("get", "a", "--range-end", "z", "--limit", "2").stdout == "a\tva\nb\tvb\n"
    ordered = run("get", "a", "--range-end", "z", "--sort-by", "create", "--order", "descend")
    assert ordered.stdout == "c\tvc\na\tva\nb\tvb\n"
    assert run("get", "a", "--range-end", "z", "--sort-by", "create", "--limit", "1").stdout == (
        "b\tvb\n"
    )
    assert run("get", "", "--prefix", "--count-only").stdout == "3\n"
    assert run("get", "x", "--count-only").stdout == "0\n"
    assert run("get", "a", "--rev", str(cluster.revision)).stdout == "va\n"
    old = run("get", "a", "--rev", "1")
    assert (old.exit_code, "has been compacted" in old.stderr) == (1, True)


def test_put_and_del_tell_what_was_there_and_take_leases(run: Run, cluster: Any) -> None:
    run("put", "a", "1", "--lease", "ff")
    assert cluster.data[b"a"][5] == 255
    assert run("put", "a", "2", "--prev").stdout == "revision 3\na\t1\n"
    assert run("del", "a", "--prev").stdout == "deleted 1\na\t2\n"
    assert run("put", "a", "--ignore-value").exit_code == 0
    assert run("put", "a", "1", "--ignore-lease").exit_code == 0
    flags = [operation[4] for operation in cluster.applied if operation[0] == schema.Op.PUT]
    assert flags[-2:] == [schema.Flag.IGNORE_VALUE, schema.Flag.IGNORE_LEASE]


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


def test_a_transaction_tells_which_branch_was_taken_and_what_it_gave(
    run: Run, cluster: Any
) -> None:
    play(cluster)
    first = ("txn", "--if", "create a = 0", "--then", "put a 1", "--else", "get a")
    done = run(*first)
    assert (done.exit_code, done.stdout) == (0, "succeeded\nrevision 2\n")
    done = run(*first)
    assert (done.exit_code, done.stdout) == (1, "failed\na\t1\n")
    done = run("txn", input="if create a = 2\nthen get a\nthen del a\n")
    assert (done.exit_code, done.stdout) == (0, "succeeded\na\t1\ndeleted 1\n")
    wrong = run("txn", input="then put a 1\nnonsense\n")
    assert (wrong.exit_code, "line 2: " in wrong.stderr) == (2, True)


def test_leases_by_their_hex_ids(run: Run, cluster: Any) -> None:
    cluster.answers.update(
        {
            schema.Op.LEASE_GRANT: lambda op: [0, 1, op[1] or 0x5F, max(op[2], 2)],
            schema.Op.LEASE_REVOKE: [0, 1],
            schema.Op.LEASE_KEEP_ALIVE: [0, 1, 60],
            schema.Op.LEASES: [0, 1, [0x5F, 0xFF]],
            schema.Op.LEASE_TIME_TO_LIVE: [0, 1, 42, 60, [b"a", b"b"]],
        }
    )
    assert run("lease", "grant", "60").stdout == "5f\n"
    short = run("lease", "grant", "1", "--id", "ff")
    assert (short.stdout, short.stderr) == ("ff\n", "metastore: granted with 2 s\n")
    assert run("lease", "list").stdout == "5f\nff\n"
    assert run("lease", "ttl", "5f", "--keys").stdout == "5f 42 of 60\na\nb\n"
    assert run("lease", "keep-alive", "5f", "--once").stdout == "5f 60\n"
    assert run("lease", "revoke", "5f").stdout == "revoked 5f\n"


def test_a_lease_that_has_ended_leaves_with_1(run: Run, cluster: Any) -> None:
    cluster.answers.update(
        {
            schema.Op.LEASE_REVOKE: [schema.Code.NOT_FOUND, schema.LEASE_NOT_FOUND],
            schema.Op.LEASE_KEEP_ALIVE: [0, 1, 0],
            schema.Op.LEASE_TIME_TO_LIVE: [0, 1, -1, 0, []],
        }
    )
    for command in ("revoke", "keep-alive", "ttl"):
        found = run("lease", command, "5f")
        assert found.exit_code == 1
        assert "lease" in found.stderr


def test_compact_tells_what_it_did(run: Run, cluster: Any) -> None:
    asked: list[Any] = []

    def compact(operation: Any) -> Any:
        asked.append(operation)
        return [0, 9]

    cluster.answers[schema.Op.COMPACT] = compact
    assert run("compact", "7", "--physical").stdout == "compacted 7\n"
    assert asked[0][1:] == (7, True)


def answer_hashes(cluster: Any, hashes: list[Any]) -> None:
    """The answers to HASH, in the order of asking; the last one again and again."""
    cluster.answers[schema.Op.HASH] = lambda _: hashes.pop(0) if len(hashes) > 1 else hashes[0]


def test_hash_compares_every_node_at_one_revision(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(2, leader_id=1)
    endpoints = ("--endpoints", cluster[1].client_address)
    behind = [schema.Code.OUT_OF_RANGE, schema.FUTURE_REVISION]
    answer_hashes(cluster, [[0, 9, 0xAB, -1, 9], behind, [0, 9, 0xAB, -1, 9]])
    found = run(*endpoints, "hash")
    assert found.exit_code == 0
    assert "all 2 nodes agree at revision 9" in found.stdout
    assert found.stdout.count("000000ab") == 2
    assert {operations[0] for _, operations in cluster[2].requests} == {(schema.Op.HASH, 9)}


def test_hash_leaves_with_1_if_nodes_differ_and_with_3_if_one_is_silent(
    make_cluster: Any, run: Run
) -> None:
    cluster = make_cluster(2, leader_id=1)
    endpoints = ("--endpoints", cluster[1].client_address, "--timeout", "0.3")
    answer_hashes(cluster, [[0, 9, 1, -1, 9], [0, 9, 2, -1, 9]])
    found = run(*endpoints, "hash", "--rev", "9")
    assert (found.exit_code, "the nodes differ at revision 9" in found.stderr) == (1, True)
    answer_hashes(cluster, [[schema.Code.OUT_OF_RANGE, schema.FUTURE_REVISION]])
    found = run(*endpoints, "hash", "--rev", "9")
    assert (found.exit_code, "has not come to revision 9" in found.stderr) == (3, True)
    answer_hashes(cluster, [[schema.Code.OUT_OF_RANGE, schema.COMPACTED]])
    assert run(*endpoints, "hash", "--rev", "9").exit_code == 1
    answer_hashes(cluster, [[0, 9, 1, -1, 9]])
    cluster[2].stop()
    found = run(*endpoints, "hash", "--rev", "9")
    assert (found.exit_code, "node 2 was not compared" in found.stderr) == (3, True)


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


def test_the_command_under_a_lock_gets_the_signals(cluster: Any) -> None:
    play(cluster)
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    with running(cluster, "lock", "jobs", "--", "sh", "-c", script) as process:
        assert line_of(process) == b"ready"
        process.send_signal(signal.SIGTERM)
    assert (process.returncode, cluster.data) == (5, {})


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
