"""The `metastore` command against scripted nodes: outputs, files and exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from metastore.client.command import loader as loader_module
from metastore.client.command.lines import encode_line

Run = Callable[..., Result]


def lines_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(encode_line(key, value) + b"\n" for key, value in pairs)


def test_put_get_and_del(run: Run) -> None:
    assert run("put", "a", "1").stdout == "revision 2\n"
    assert run("put", "b", "-", input=b"\xff\n").exit_code == 0
    assert run("get", "a").stdout == "1\n"
    assert run("get", "b").stdout_bytes == b"\xff\n\n"
    assert run("get", "a", "--json").stdout == '{"key":"a","value":"1"}\n'
    assert run("get", "", "--prefix", "--keys-only").stdout == "a\nb\n"
    assert run("get", "a", "--range-end", "b").stdout == "a\t1\n"
    assert run("del", "", "--prefix").stdout == "deleted 2\n"


def test_what_is_not_there_leaves_with_1(run: Run) -> None:
    found = run("get", "a")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "nothing is stored under 'a'" in found.stderr
    assert run("del", "a").exit_code == 1


def test_what_is_refused_leaves_with_1_and_one_line(run: Run) -> None:
    refused = run("put", "", "1")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "metastore: etcdserver: key is not provided\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "a"),
        ("nonsense",),
        ("get", "a", "--prefix", "--range-end", "b"),
        ("get", "a", "--level", "fresh"),
        ("--endpoints", "nowhere", "get", "a"),
        ("--timeout", "0", "get", "a"),
        ("load", "no-such-file"),
    ],
)
def test_wrong_usage_leaves_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unavailable_cluster_leaves_with_3(run: Run, unused_address: str) -> None:
    for arguments in (["get", "a"], ["put", "a", "1"], ["status"]):
        found = run("--endpoints", unused_address, "--timeout", "0.2", *arguments)
        assert found.exit_code == 3
        assert unused_address in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_an_unknown_outcome_leaves_with_4(run: Run, cluster: Any) -> None:
    cluster.leader.default_act = "outcome_unknown"
    found = run("--timeout", "0.3", "put", "a", "1")
    assert found.exit_code == 4
    assert "read the keys before repeating" in found.stderr


def test_endpoints_come_from_a_cluster_file(run: Run, cluster: Any, tmp_path: Path) -> None:
    node = {"node_id": 1, "client": cluster.leader.client_address, "status": "tcp://127.0.0.1:1"}
    (tmp_path / "cluster.json").write_text(json.dumps({"cluster_id": "x", "nodes": [node]}))
    environment = {"METASTORE_ENDPOINTS": None}
    assert run("put", "a", "1", env=environment).exit_code == 0
    assert run("--cluster", str(tmp_path), "get", "a", env=environment).stdout == "1\n"
    (tmp_path / "cluster.json").write_text("{}")
    found = run("get", "a", env=environment)
    assert found.exit_code == 2
    assert "is no cluster file" in found.stderr


def test_status_shows_every_node_and_says_who_does_not_answer(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(2, leader_id=2)
    endpoints = ("--endpoints", cluster[2].client_address, "--timeout", "0.4")
    cluster.infos = [cluster.members()[0]._replace(role="witness"), cluster.members()[1]]
    cluster[1].stop()
    shown = run(*endpoints, "status")
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[1][:2] == ["1", "no_answer"]
    assert rows[2] == ["2", "leader", "7", "2", "12", "12", "voter", cluster[2].status_address]
    assert rows[1][-2:] == ["witness", cluster[1].status_address]
    told = json.loads(run(*endpoints, "status", "--json").stdout)
    assert told["2"]["state"] == "leader"


def test_status_without_a_leader_leaves_with_3(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(1, leader_id=0)
    found = run("--endpoints", cluster[1].client_address, "status")
    assert found.exit_code == 3
    assert "no node knows a leader" in found.stderr


def test_what_is_loaded_is_dumped_byte_for_byte(run: Run, tmp_path: Path) -> None:
    pairs = [(b"%04d" % number, bytes([number % 256]) * 9) for number in range(700)]
    data = lines_of([*pairs, (b"\xff\x00", b"")])
    loaded = run("load", "-", "--acknowledged", "acknowledged", input=data)
    assert loaded.exit_code == 0
    assert loaded.stderr.startswith("loaded 701 keys in 6 requests")
    assert run("dump").stdout_bytes == data
    assert run("dump", "--prefix", "000").stdout_bytes == lines_of(pairs[:10])
    keys = (tmp_path / "acknowledged").read_bytes().splitlines()
    assert keys == [encode_line(key, None) for key, _ in [*pairs, (b"\xff\x00", b"")]]


def test_a_bad_line_is_refused_by_number_before_its_batch_is_sent(run: Run, cluster: Any) -> None:
    data = lines_of([(b"%d" % number, b"v") for number in range(130)]) + b"\nnonsense\n"
    found = run("load", "-", input=data)
    assert found.exit_code == 1
    assert "line 132: not JSON" in found.stderr
    assert "loaded 128 keys" in found.stderr
    assert len(cluster.applied) == 128


def test_a_pair_that_the_store_refuses_is_named_by_its_line(run: Run, cluster: Any) -> None:
    cluster.leader.script.append("invalid")
    found = run("load", "-", input=lines_of([(b"a", b"1")]))
    assert found.exit_code == 1
    too_large = lines_of([(b"a", b"1"), (b"b", bytes(1600 * 1024))])
    found = run("load", "-", input=too_large)
    assert found.exit_code == 1
    assert "line 2: " in found.stderr


@pytest.mark.parametrize("act", ["outcome_unknown", "hang_up", "serve_and_hang_up"])
def test_a_batch_of_unknown_outcome_is_stored_again(run: Run, cluster: Any, act: str) -> None:
    cluster.leader.script.extend(["serve", act])
    pairs = [(b"%04d" % number, b"v") for number in range(400)]
    loaded = run("load", "-", input=lines_of(pairs))
    assert loaded.exit_code == 0
    assert "requests repeated" in loaded.stderr
    assert sorted(cluster.data) == [key for key, _ in pairs]


def test_a_repeated_batch_never_undoes_a_later_line(run: Run, cluster: Any) -> None:
    cluster.leader.script.append("outcome_unknown")
    pairs = [(b"%04d" % number, b"v") for number in range(128)]
    loaded = run("load", "-", input=lines_of([(b"x", b"old"), *pairs, (b"x", b"new")]))
    assert loaded.exit_code == 0
    assert cluster.data[b"x"][1] == b"new"


def test_a_load_that_gets_nowhere_gives_up_with_the_outcome(run: Run, cluster: Any) -> None:
    cluster.leader.default_act = "outcome_unknown"
    found = run("load", "-", "--patience", "0", input=lines_of([(b"a", b"1")]))
    assert found.exit_code == 4
    assert "repeating is safe" in found.stderr


def test_batches_are_bounded_by_bytes_too() -> None:
    value = b"v" * (loader_module.BATCH_BYTES_MAX // 2)
    lines = lines_of([(b"%d" % number, value) for number in range(4)]).splitlines(keepends=True)
    batches = list(loader_module.read_batches(lines))
    assert [batch.line_numbers for batch in batches] == [[1], [2], [3], [4]]
    assert batches[-1].end_bytes == sum(map(len, lines))


def test_dump_of_one_node_asks_that_node_alone(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(2, leader_id=1)
    run("--endpoints", cluster[1].client_address, "put", "a", "1")
    dumped = run("dump", "--node", cluster[2].client_address)
    assert dumped.stdout == '{"key":"a","value":"1"}\n'
    assert [level for level, _ in cluster[2].requests] == [2]
    refused = run("--endpoints", cluster[2].client_address, "dump", "--endpoint-only")
    assert refused.exit_code == 3
    assert "the leader is node 1" in refused.stderr


def run_python(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, timeout=60, **options)


def test_help_loads_neither_sockets_nor_the_node() -> None:
    script = (
        "import sys\n"
        "from metastore.client.command.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "loaded = {'zmq', 'rich', 'msgpack', 'metastore.node'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    done = run_python("-c", script)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_client_never_loads_the_node() -> None:
    script = (
        "import sys, metastore.client as c\n"
        "c.Client, c.Pipeline\n"
        "from metastore.client.command import dump, keys, load, serve, status\n"
        "others = ('metastore.node', 'metastore.engines')\n"
        "loaded = [module for module in sys.modules if module.startswith(others)]\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    done = run_python("-c", script)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_goes_away_ends_a_dump_quietly(run: Run, cluster: Any) -> None:
    value = b"v" * 1000
    run("load", "-", input=lines_of([(b"%04d" % number, value) for number in range(1000)]))
    command = [sys.executable, "-m", "metastore.client.command.main"]
    command += ["--endpoints", cluster.leader.client_address, "dump"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
