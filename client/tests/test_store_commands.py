"""The commands for what the store can do beyond put, get and del, against scripted nodes."""

from collections.abc import Callable
from typing import Any

from click.testing import Result
from line_play import play

from metastore.transport import schema

Run = Callable[..., Result]


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
