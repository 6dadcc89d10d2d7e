"""Laying out a local cluster: ports, folders, cluster.json, and what a kept folder demands."""

import json
import socket
from pathlib import Path

import pytest
from cluster import folders, layout
from cluster.layout import LayoutFailed

from metastore.node.access.file import read_access_file
from metastore.transport.security import read_key_file


def test_a_new_cluster_has_three_nodes_with_addresses_of_their_own(tmp_path: Path) -> None:
    laid = folders.prepare(tmp_path, None, None, None)
    assert [node.node_id for node in laid.nodes] == [1, 2, 3]
    assert laid.engine == "memory"
    assert len(set(layout.ports_of(laid))) == 12


def test_cluster_json_is_what_the_contract_says(tmp_path: Path) -> None:
    folders.prepare(tmp_path, 1, "memory", None)
    document = json.loads((tmp_path / "cluster.json").read_text())
    (node,) = document["nodes"]
    assert node.keys() >= {"node_id", "pid", "peer", "client", "status", "log", "data_dir"}
    assert node["client"].startswith("tcp://127.0.0.1:")
    assert not list(tmp_path.glob(".cluster.json*")), "the file written aside was renamed"


def test_ports_stay_below_those_of_outgoing_connections() -> None:
    assert all(12_000 <= port < 32_000 for port in layout.random_ports(40))


def test_random_ports_are_free_ones() -> None:
    free = {15_000, 15_001}
    with pytest.raises(LayoutFailed, match="free ports"):
        layout.random_ports(3, free=lambda port: port in free)


def test_a_base_port_gives_consecutive_ports() -> None:
    assert layout.consecutive_ports(20_000, 3, free=lambda port: True) == [20_000, 20_001, 20_002]


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind((layout.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LayoutFailed, match=f"port {port} is taken"):
            layout.consecutive_ports(port, 1)


def test_a_base_port_without_room_above_is_refused() -> None:
    with pytest.raises(LayoutFailed, match="do not fit"):
        layout.consecutive_ports(65_530, 12)


def test_a_kept_folder_keeps_ids_folders_and_ports(tmp_path: Path) -> None:
    first = folders.prepare(tmp_path, 3, None, None)
    assert folders.prepare(tmp_path, None, None, None) == first


def test_a_kept_folder_whose_ports_are_taken_moves_but_keeps_its_id(tmp_path: Path) -> None:
    first = folders.prepare(tmp_path, 3, None, None)
    with socket.socket() as taken:
        taken.bind((layout.HOST, layout.ports_of(first)[0]))
        taken.listen()
        second = folders.prepare(tmp_path, None, None, None)
    assert second.cluster_id == first.cluster_id
    assert [node.data_dir for node in second.nodes] == [node.data_dir for node in first.nodes]
    assert not set(layout.ports_of(second)) & {layout.ports_of(first)[0]}


@pytest.mark.parametrize(("nodes", "engine"), [(5, None), (None, "rocksdb")])
def test_a_kept_folder_refuses_to_be_another_cluster(
    tmp_path: Path, nodes: int | None, engine: str | None
) -> None:
    folders.prepare(tmp_path, 3, "memory", None)
    with pytest.raises(LayoutFailed, match="holds a cluster with"):
        folders.prepare(tmp_path, nodes, engine, None)


def test_a_foreign_cluster_json_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"nodes": 7}')
    with pytest.raises(LayoutFailed, match=str(tmp_path)):
        layout.read(tmp_path)


def test_pids_are_recorded_without_losing_those_of_others(tmp_path: Path) -> None:
    folders.prepare(tmp_path, 3, None, None)
    layout.record_pids(tmp_path, [(1, 101), (2, 102)])
    laid = layout.record_pids(tmp_path, [(3, 103)])
    assert [node.pid for node in laid.nodes] == [101, 102, 103]
    assert layout.read(tmp_path) == laid


def test_an_unknown_node_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LayoutFailed, match="no node 9; this cluster has 1, 2, 3"):
        folders.prepare(tmp_path, 3, None, None).node(9)


def test_stop_without_a_cluster_says_so(tmp_path: Path) -> None:
    with pytest.raises(LayoutFailed, match=r"no cluster\.json"):
        folders.find_detached(tmp_path)


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    laid = folders.prepare(tmp_path, 1, None, None, with_keys=True)
    assert laid.keys is not None
    node_key, access_file = laid.keys.node_options[1::2]
    assert read_key_file(node_key).public == laid.keys.server_key
    access = read_access_file(access_file)
    assert access.node_keys == {laid.keys.server_key}
    assert [grants.role for grants in access.clients.values()] == ["admin"]
    assert set(access.clients) == {laid.keys.read().public}
    for with_keys in (True, False):
        again = folders.prepare(tmp_path, None, None, None, with_keys=with_keys)
        assert again.keys == laid.keys


def test_keys_are_not_added_to_a_cluster_that_has_none(tmp_path: Path) -> None:
    folders.prepare(tmp_path, 1, None, None)
    assert "keys" not in json.loads((tmp_path / "cluster.json").read_text())
    with pytest.raises(LayoutFailed, match="holds a cluster without keys"):
        folders.prepare(tmp_path, None, None, None, with_keys=True)
