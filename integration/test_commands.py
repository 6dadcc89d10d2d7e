"""The commands against three real nodes: what a shell sees, from a put to a lock that moves on."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from node_processes import NodeProcesses, eventually

pytestmark = pytest.mark.timeout(120)

WAIT_S = 60.0
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def command(cluster: NodeProcesses, *arguments: str) -> list[str]:
    python = [sys.executable, "-m", "metastore.client.command.main", "--timeout", "20"]
    return [*python, "--endpoints", ",".join(cluster.endpoints), *arguments]


@pytest.fixture
def shell(cluster: NodeProcesses) -> Shell:
    """Runs a command to its end."""

    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(cluster, *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )

    return run


@contextmanager
def running(cluster: NodeProcesses, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that goes on until it is interrupted, with the end of the block at the latest."""
    with subprocess.Popen(
        command(cluster, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(WAIT_S, process.kill)
        watchdog.start()
        try:
            yield process
            process.send_signal(signal.SIGINT)
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def revision_of(done: "subprocess.CompletedProcess[str]") -> int:
    return int(done.stdout.split()[1])


def test_keys_at_every_revision_until_it_is_compacted(shell: Shell) -> None:
    first = revision_of(shell("put", "jobs/1", "waiting"))
    assert shell("put", "jobs/1", "running", "--prev").stdout.splitlines()[1] == "jobs/1\twaiting"
    shell("put", "jobs/2", "waiting")
    assert shell("get", "jobs/1", "--rev", str(first)).stdout == "waiting\n"
    newest = ("get", "jobs/", "--prefix", "--sort-by", "mod", "--order", "descend", "--limit", "1")
    assert shell(*newest).stdout == "jobs/2\twaiting\n"
    assert shell("get", "jobs/", "--prefix", "--count-only").stdout == "2\n"
    assert shell("compact", str(first + 1), "--physical").stdout == f"compacted {first + 1}\n"
    gone = shell("get", "jobs/1", "--rev", str(first))
    assert (gone.returncode, "has been compacted" in gone.stderr) == (1, True)
    missed = shell("watch", "jobs/1", "--rev", str(first))
    assert (missed.returncode, f"oldest revision is {first + 1}" in missed.stderr) == (1, True)
    assert shell("del", "jobs/", "--prefix", "--prev").stdout == (
        "deleted 2\njobs/1\trunning\njobs/2\twaiting\n"
    )


def test_transactions_leases_and_the_hash_of_all_nodes(shell: Shell) -> None:
    take = (
        "txn",
        "--if",
        "create owner = 0",
        "--then",
        "put owner 'host a'",
        "--else",
        "get owner",
    )
    assert shell(*take).stdout.startswith("succeeded\nrevision ")
    again = shell(*take)
    assert (again.returncode, again.stdout) == (1, "failed\nowner\thost a\n")
    script = "if value owner = 'host a'\nif version owner > 0\nthen del owner\n"
    assert shell("txn", stdin=script).stdout == "succeeded\ndeleted 1\n"

    lease = shell("lease", "grant", "60").stdout.strip()
    shell("put", "worker", "up", "--lease", lease)
    assert shell("lease", "list").stdout == f"{lease}\n"
    assert shell("lease", "ttl", lease, "--keys").stdout.splitlines()[1] == "worker"
    assert shell("lease", "keep-alive", lease, "--once").stdout == f"{lease} 60\n"
    assert shell("txn", "--if", f"lease worker = {lease}", "--then", "get worker").returncode == 0
    assert shell("lease", "revoke", lease).stdout == f"revoked {lease}\n"
    assert shell("get", "worker").returncode == 1
    assert shell("lease", "ttl", lease).returncode == 1

    compared = shell("hash")
    assert (compared.returncode, "all 3 nodes agree" in compared.stdout) == (0, True)


def test_a_watch_goes_on_while_the_node_that_serves_it_is_killed(
    cluster: NodeProcesses, shell: Shell
) -> None:
    with running(cluster, "watch", "a", "--prefix", "--rev", "1", "--json") as watch:
        shell("put", "a", "1")
        assert json.loads(line_of(watch))["value"] == "1"
        cluster.kill(1)  # the first endpoint: it serves the watch
        for number in range(2, 5):
            assert shell("put", "a", str(number)).returncode == 0
        seen = [json.loads(line_of(watch)) for _ in range(3)]
        assert [event["value"] for event in seen] == ["2", "3", "4"]
        cluster.start(1)
    assert watch.returncode == 0


def test_a_command_runs_under_a_lock_and_the_next_one_waits(
    cluster: NodeProcesses, shell: Shell
) -> None:
    with running(cluster, "lock", "jobs") as holder:
        key, token = line_of(holder).split("\t")
        assert shell("get", key).returncode == 0
        late = shell("lock", "jobs", "--wait", "0.2", "--", "true")
        assert (late.returncode, "not to be had in time" in late.stderr) == (1, True)
        waiting = subprocess.Popen(
            command(cluster, "lock", "jobs", "--", "sh", "-c", 'echo "$METASTORE_FENCING_TOKEN"'),
            stdout=subprocess.PIPE,
            text=True,
        )
        with cluster.client() as client:
            eventually(
                "the second one is in line",
                lambda: client.range("jobs/", "jobs0", count_only=True).count == 2,
            )
    out, _ = waiting.communicate(timeout=WAIT_S)
    assert int(out) > int(token)
    assert waiting.returncode == holder.returncode == 0
    assert shell("get", "jobs/", "--prefix").returncode == 1


def test_a_command_is_stopped_when_its_lock_is_revoked(
    cluster: NodeProcesses, shell: Shell
) -> None:
    script = 'trap "echo stopped; exit 0" TERM; echo ready; while :; do sleep 0.05; done'
    with running(cluster, "lock", "jobs", "--ttl", "3", "--", "sh", "-c", script) as holder:
        assert line_of(holder) == "ready"
        shell("lease", "revoke", shell("lease", "list").stdout.strip())
        assert line_of(holder) == "stopped"
        assert holder.stderr is not None
        assert "the lock is lost" in holder.stderr.readline()
        holder.wait()
    assert holder.returncode == 1


def test_an_election_hands_over_to_the_next_candidate(cluster: NodeProcesses) -> None:
    with running(cluster, "elect", "chief", "host-a", "--ttl", "5") as first:
        line_of(first)
        with running(cluster, "elect", "--listen", "chief") as spectator:
            assert line_of(spectator).endswith("\thost-a")
            with running(cluster, "elect", "chief", "host-b", "--ttl", "5") as second:
                with cluster.client() as client:
                    eventually(
                        "both stand",
                        lambda: client.range("chief/", "chief0", count_only=True).count == 2,
                    )
                os.kill(first.pid, signal.SIGKILL)  # without a word: its lease has to end
                assert line_of(spectator).endswith("\thost-b")
                assert line_of(second).startswith("chief/")
    assert (spectator.returncode, second.returncode) == (0, 0)
