"""Opening and closing a node again and again in one process leaves nothing open (H5)."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node import logs
from metastore.node.exit_codes import ExitCode
from metastore.node.identity import open_data_directory
from metastore.node.loop import NodeLoop
from metastore.node.parts import Parts
from metastore.node.raft.model import Role
from metastore.node.security import read_security
from metastore.node.settings import Settings
from metastore.node.settings_sources import load
from metastore.transport.errors import BindFailed
from metastore.transport.security import new_keys, write_key_file

SOCKETS = ("peer", "client", "status", "snapshot")
TIMES = 10


def nowhere(node_id: int) -> str:
    """Addresses at which nobody listens."""
    return ",".join(f"tcp://127.0.0.1:{10 * node_id + place}" for place in range(len(SOCKETS)))


def settings_of(folder: Path, *, has_keys: bool) -> Settings:
    """Of a node whose peers are dead; it asks them for votes, and the cluster to let it in."""
    flags = ["--node-id=1", f"--data-dir={folder / 'data'}", "--election-timeout-ms=50"]
    flags += ["--heartbeat-ms=5", *(f"--member={peer}={nowhere(peer)}" for peer in (1, 2, 3))]
    flags += [f"--{name}-bind=tcp://127.0.0.1:0" for name in SOCKETS]
    if has_keys:
        keys = new_keys()
        write_key_file(folder / "node.key", keys)
        (folder / "access.toml").write_text(f'[nodes]\nkeys = ["{keys.public}"]\n')
        flags += [f"--key-file={folder / 'node.key'}", f"--access-file={folder / 'access.toml'}"]
    return load(flags, {})


@contextmanager
def loop_of(settings: Settings) -> Iterator[NodeLoop]:
    """Not yet open. What process.py holds around a loop is closed at the end."""
    directory = open_data_directory(settings.data_dir, settings.cluster_id, 1, "memory")
    store = MemoryStore(settings.data_dir / "snapshots", node_id=1)
    log = WriteAheadLog(settings.data_dir / "wal")
    security = read_security(settings)
    yield NodeLoop(settings, directory.identity, store, log, security, logs.get_logger())
    log.close()
    store.close()
    directory.close()


def run_until_it_asks_for_votes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with loop_of(settings) as loop, monkeypatch.context() as patched:
        publish = Parts.publish

        def stop_when_it_asks(parts: Parts) -> None:
            publish(parts)
            if parts.core.role is Role.PRE_CANDIDATE:
                loop.request_stop()

        patched.setattr(Parts, "publish", stop_when_it_asks)
        loop.open()
        assert loop.run() is ExitCode.OK


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("has_keys", [False, True], ids=["without keys", "with keys"])
def test_a_node_among_dead_peers_opens_and_closes_with_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_keys: bool
) -> None:
    settings = settings_of(tmp_path, has_keys=has_keys)
    run_until_it_asks_for_votes(settings, monkeypatch)
    before = open_descriptors(), threading.active_count()
    for _ in range(TIMES):
        run_until_it_asks_for_votes(settings, monkeypatch)
    assert (open_descriptors(), threading.active_count()) == before


@pytest.mark.parametrize("name", SOCKETS)
def test_a_node_that_finds_a_port_taken_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = settings_of(tmp_path, has_keys=True)
    run_until_it_asks_for_votes(settings, monkeypatch)
    before = open_descriptors(), threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        blocked = replace(settings, **{f"{name}_bind": address})  # type: ignore[arg-type]
        with loop_of(blocked) as loop, pytest.raises(BindFailed):
            loop.open()
    assert (open_descriptors(), threading.active_count()) == before
