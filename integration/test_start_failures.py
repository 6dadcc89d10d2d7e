"""A node that cannot start says why in one line and exits with the code of its class (H6)."""

import subprocess
from collections.abc import Callable

import pytest
from lost_power import log_files
from node_processes import BOTH_ENGINES, NodeProcesses

from metastore.node.exit_codes import ExitCode

pytestmark = [pytest.mark.timeout(120), BOTH_ENGINES]


def last_line(command: list[str], code: ExitCode) -> str:
    ended = subprocess.run(command, capture_output=True, timeout=30, check=False)
    text = ended.stderr.decode()
    assert ended.returncode == code, text
    assert "Traceback" not in text
    return text.splitlines()[-1]


def test_a_second_process_on_the_same_data_directory_is_refused(cluster: NodeProcesses) -> None:
    line = last_line(cluster.command(1), ExitCode.IDENTITY)
    assert str(cluster.data_dir(1)) in line


def test_a_second_process_on_the_same_port_is_refused(cluster: NodeProcesses) -> None:
    command = cluster.command(1)
    command[command.index("--data-dir") + 1] += "-other"
    line = last_line(command, ExitCode.NETWORK)
    assert cluster.address(1, "peer") in line


def test_the_data_directory_of_another_node_is_refused(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3)
    cluster.start(1)
    cluster.stop()
    command = cluster.command(2)
    command[command.index("--data-dir") + 1] = str(cluster.data_dir(1))
    line = last_line(command, ExitCode.IDENTITY)
    assert str(cluster.data_dir(1)) in line


def test_damage_in_the_log_stops_the_start_and_says_where(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(1)
    cluster.start()
    cluster.leader()
    with cluster.client() as client:
        for number in range(20):
            client.put(f"key-{number}", "x" * 100)
    cluster.kill(1)
    segment = log_files(cluster.data_dir(1), cluster.engine)[-1]
    data = bytearray(segment.read_bytes())
    at = data.index(b"key-3")
    data[at] ^= 0xFF
    segment.write_bytes(data)
    line = last_line(cluster.command(1), ExitCode.STORAGE)
    if cluster.engine == "rocksdb":
        # RocksDB itself finds it, and says no more than that.
        assert f"{segment.parent}: Corruption" in line
    else:
        assert segment.name in line
        assert "byte " in line


def test_a_bad_setting_names_the_key_and_what_is_expected(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    command = [*make_cluster(1).command(1), "--election-timeout-ms", "soon"]
    line = last_line(command, ExitCode.CONFIGURATION)
    assert "election" in line
    assert "soon" in line
