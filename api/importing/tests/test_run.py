"""An import: nothing is written before all is read; everything in order; what was done is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripted_etcd import ScriptedCluster, ScriptedEtcd, connected, kv

from metastore.api.importing.run import Import, Report, Wanted
from metastore.api.importing.target import Granted, Renewing, Target
from metastore.client.errors import InvalidRequest, OutcomeUnknown, Unavailable

KEYS = [
    kv(b"a", 9, b"1"),
    kv(b"b", 3, b"2", lease=7),
    kv(b"c", 5, b"3"),
    kv(b"d", 5, b"4", lease=8),
    kv(b"other", 4, b"5"),
]


ALL = Wanted()


def target_of(cluster: ScriptedCluster, patience_s: float = 5.0) -> Target:
    client: Any = cluster
    clock = iter(range(1000))
    return Target(
        client, patience_s=patience_s, now=lambda: float(next(clock)), sleep=lambda _: None
    )


def bring(
    etcd: ScriptedEtcd,
    cluster: ScriptedCluster,
    folder: Path,
    wanted: Wanted = ALL,
    show: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Report:
    with connected(etcd) as source:
        return Import(source, target_of(cluster), wanted, show).run(folder)


def test_keys_are_written_in_the_order_of_their_revisions_with_their_leases(
    tmp_path: Path,
) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70, 8: 80, 9: 90}), ScriptedCluster()
    seen: list[tuple[str, int, int]] = []
    report = bring(etcd, cluster, tmp_path, show=lambda *what: seen.append(what))
    assert cluster.keys == {
        b"b": (b"2", 2, 7),
        b"other": (b"5", 3, 0),
        b"c": (b"3", 4, 0),
        b"d": (b"4", 4, 8),
        b"a": (b"1", 5, 0),
    }
    assert cluster.leases == {7: 70, 8: 80, 9: 90}
    assert sorted(cluster.renewed) == [7, 8, 9]  # with their whole time, at the end
    assert report == Report(9, 9, 5, 14, 3, (), 0, 0)
    assert seen == [("reading", 5, 5), ("writing", 5, 5)]


def test_only_what_has_the_prefix_comes_with_its_leases(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70, 8: 80}), ScriptedCluster()
    cluster.keys[b"b"] = (b"mine", 1, 0)
    assert bring(etcd, cluster, tmp_path, Wanted(b"d")).keys_count == 1
    assert cluster.leases == {8: 80}
    assert cluster.keys[b"b"] == (b"mine", 1, 0)


def test_a_cluster_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70, 8: 80}), ScriptedCluster()
    cluster.keys[b"mine"] = (b"", 1, 0)
    with pytest.raises(InvalidRequest, match="has keys already"):
        bring(etcd, cluster, tmp_path)
    assert etcd.requests == []
    assert bring(etcd, cluster, tmp_path, Wanted(is_forced=True)).keys_count == 5
    assert b"mine" in cluster.keys


def test_a_rehearsal_reads_everything_and_writes_nothing(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70}), ScriptedCluster()
    report = bring(etcd, cluster, tmp_path, Wanted(is_rehearsal=True))
    assert (report.keys_count, report.left_out_count, report.leases_count) == (4, 1, 1)
    assert (cluster.keys, cluster.leases) == ({}, {})


def test_keys_whose_lease_ended_meanwhile_are_left_out_and_told(tmp_path: Path) -> None:
    cluster = ScriptedCluster()
    report = bring(ScriptedEtcd(KEYS, {8: 80}), cluster, tmp_path)
    assert (report.keys_count, report.left_out_count) == (4, 1)
    assert b"b" not in cluster.keys


def test_a_lease_of_an_import_that_was_broken_off_is_taken_up_and_anothers_is_left_alone(
    tmp_path: Path,
) -> None:
    cluster = ScriptedCluster()
    cluster.leases = {7: 70, 8: 99}
    report = bring(ScriptedEtcd(KEYS, {7: 70, 8: 80}), cluster, tmp_path)
    assert cluster.keys[b"b"][2] == 7
    ((old, new),) = report.renumbered
    assert (old, cluster.leases[8], cluster.leases[new]) == (8, 99, 80)
    assert cluster.keys[b"d"][2] == new


def test_who_may_not_list_leases_gets_those_of_the_keys(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70, 8: 80, 9: 90}), ScriptedCluster()
    etcd.failures["LeaseLeases"] = (grpc.StatusCode.PERMISSION_DENIED, "no")
    assert bring(etcd, cluster, tmp_path).leases_count == 2


def test_that_the_source_was_written_to_meanwhile_is_told(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd(KEYS, {7: 70, 8: 80}), ScriptedCluster()

    def write_there() -> None:
        etcd.revision = 11

    cluster.before_request = write_there
    report = bring(etcd, cluster, tmp_path)
    assert (report.revision, report.newest_revision) == (9, 11)


def test_what_is_interrupted_says_how_far_it_came(tmp_path: Path) -> None:
    keys = [kv(b"%06d" % number, number + 2) for number in range(1000)]
    cluster = ScriptedCluster()

    def interrupt() -> None:
        if cluster.keys:
            raise KeyboardInterrupt

    cluster.before_request = interrupt
    with connected(ScriptedEtcd(keys)) as source:
        one = Import(source, target_of(cluster), Wanted(), lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            one.run(tmp_path)
    assert one.stored_count == len(cluster.keys) > 0
    assert one.keys_count == 1000
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    cluster = ScriptedCluster()
    cluster.failures = [Unavailable("no leader"), OutcomeUnknown("lost")]
    assert bring(ScriptedEtcd(KEYS, {7: 70, 8: 80}), cluster, tmp_path).keys_count == 5
    cluster.failures = [Unavailable(f"attempt {number}") for number in range(50)]
    with pytest.raises(Unavailable, match="attempt 5"):
        bring(ScriptedEtcd(KEYS, {7: 70, 8: 80}), cluster, tmp_path, Wanted(is_forced=True))


def test_what_the_cluster_refuses_is_told_with_its_key(tmp_path: Path) -> None:
    etcd, cluster = ScriptedEtcd([kv(b"b", 3, lease=7)], {7: 70}), ScriptedCluster()
    cluster.before_request = lambda: cluster.leases.pop(7, None)
    with pytest.raises(InvalidRequest, match="key b'b': etcdserver: requested lease not found"):
        bring(etcd, cluster, tmp_path)


def test_leases_are_renewed_before_they_end() -> None:
    cluster = ScriptedCluster()
    cluster.leases = {7: 9, 8: 90}
    now = [0.0]
    granted = Granted({7: 7, 8: 8}, 9)
    renewing = Renewing(target_of(cluster), granted, now=lambda: now[0])
    for at, count in ((2.9, 0), (3.0, 2), (5.9, 2), (6.0, 4)):
        now[0] = at
        renewing.renew_if_due()
        assert len(cluster.renewed) == count
    del cluster.leases[7]
    assert renewing.renew() == 1  # is gone
