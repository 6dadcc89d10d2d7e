"""etcdctl, unchanged, does everything it can: what it prints is what it prints of a real etcd.

The scenarios stand in etcdctl_keys.py, etcdctl_cluster.py and etcdctl_access.py. One cluster of
three nodes with each engine, and one of real etcds, serve all of them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from etcd_tools import done, run
from etcdctl_access import ACCESS
from etcdctl_cluster import CLUSTER
from etcdctl_keys import KEYS
from etcdctl_runs import PROGRAMS, Outcome, Run, made_by, post, steps_of
from etcdctl_systems import NamedNodes
from gateways import EtcdCluster
from node_processes import eventually

pytestmark = pytest.mark.timeout(180)

SCENARIOS = KEYS | CLUSTER | ACCESS
VERSIONS = [
    pytest.param(
        version,
        marks=pytest.mark.skipif(
            not PROGRAMS[version].exists(), reason=f"no etcdctl {version} (Debian: etcd-client)"
        ),
    )
    for version in PROGRAMS
]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    started = EtcdCluster(tmp_path_factory.mktemp("etcd"))
    yield started
    started.stop()


@pytest.fixture(scope="module", params=["memory", "rocksdb"])
def nodes(
    request: Any, xprocess: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamedNodes]:
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict")
    cluster = NamedNodes(xprocess, tmp_path_factory.mktemp("ctl"), engine=request.param)
    try:
        cluster.start_with_gateways()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def told_of_etcd() -> dict[tuple[str, str], list[Outcome]]:
    """What has been asked already, for the second engine."""
    return {}


def wait_until_members_may_be_added(cluster: EtcdCluster) -> None:
    """An etcd refuses until its members have been connected for 5 s."""
    at = ("etcdctl", "--endpoints", ",".join(cluster.etcd_endpoints), "member")
    add = ("add", "m9", "--peer-urls=http://127.0.0.1:19995", "--learner")
    added = eventually("a member may be added", lambda: run(*at, *add).stdout)
    done(*at, "remove", made_by(added))


def play(cluster: Any, version: str, scenario: str, folder: Path) -> list[Outcome]:
    folder.mkdir()
    endpoints = [url.removeprefix("http://") for url in cluster.etcd_endpoints]
    prefix = f"{version}/{scenario.replace(' ', '-')}/"
    return list(Run(version, prefix, endpoints, folder).play(steps_of(SCENARIOS[scenario])))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("version", VERSIONS)
def test_etcdctl_prints_what_it_prints_of_an_etcd(
    etcd: EtcdCluster,
    nodes: NamedNodes,
    told_of_etcd: dict[tuple[str, str], list[Outcome]],
    version: str,
    scenario: str,
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor() as side_by_side:
        ours = side_by_side.submit(play, nodes, version, scenario, tmp_path / "ours")
        if (version, scenario) not in told_of_etcd:
            if scenario == "members":
                wait_until_members_may_be_added(etcd)
            told_of_etcd[version, scenario] = play(etcd, version, scenario, tmp_path / "etcd")
        told, expected = ours.result(), told_of_etcd[version, scenario]
    differing = [
        f"{one}\nof an etcd:\n{other}"
        for one, other in zip(told, expected, strict=True)
        if one != other
    ]
    assert not differing, "\n\n".join(["", *differing])
    wait_until_all_hold_the_same(nodes)


def wait_until_all_hold_the_same(nodes: NamedNodes) -> None:
    endpoints = [url.removeprefix("http://") for url in nodes.etcd_endpoints]

    def is_so() -> bool:
        told = [post(at, "/v3/maintenance/hashkv", {}) for at in endpoints]
        return len({(one["header"]["revision"], one["hash"]) for one in told}) == 1

    eventually("all members hold the same", is_so)
