"""The etcd gateway beside a node: a process of its own, started with the node and kept running.

It is told what to do by its arguments (file names, never secrets) and ends when its standard input
does: so none outlives its node, however that died. A gateway that ends is started again after a
pause that doubles; the node is unharmed by any of it.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from metastore.node.security import NodeSecurity
from metastore.node.settings import Settings, SettingsInvalid

INSTALL_HINT = "pip install metastore-raft[etcd]"
NEEDED_PACKAGES = ("grpc", "google.protobuf", "aiohttp")
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 10.0
HEALTHY_S = 30.0  # one that ran so long starts with the shortest pause again
STOP_S = 3.0  # for requests under way; then it is killed, since the node itself has little time


def check_installed(settings: Settings) -> None:
    """Raises SettingsInvalid when a gateway is wanted that cannot run."""
    if not settings.etcd:
        return
    missing = [package for package in NEEDED_PACKAGES if not _is_installed(package)]
    if missing:
        expected = f"no gateway, or what it needs installed ({missing[0]}; {INSTALL_HINT})"
        raise SettingsInvalid("settings", "etcd", ",".join(settings.etcd), expected)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package above it
        return False


def command_of(settings: Settings, security: NodeSecurity | None) -> Sequence[str]:
    """What starts the gateway of this node, which has the node's own key if there are any."""
    own = settings.own_member
    arguments: list[str] = ["--node", own.client, "--node-status", own.status]
    for option, values in (
        ("--listen", settings.etcd),
        ("--listen-metrics", settings.etcd_metrics),
    ):
        for url in values:
            arguments += [option, url]
    if security is not None:
        arguments += ["--key-file", str(settings.key_file)]
        arguments += ["--server-key", security.keys.public]
    for option, value in (
        ("--cert-file", settings.etcd_cert_file),
        ("--cert-key-file", settings.etcd_key_file),
        ("--trusted-ca-file", settings.etcd_trusted_ca_file),
        ("--auth-token", settings.etcd_auth_token),
        ("--log-level", settings.log_level),
        ("--log-format", settings.log_format),
    ):
        if value:
            arguments += [option, str(value)]
    for option, is_on in (
        ("--client-cert-auth", settings.etcd_client_cert_auth),
        ("--insecure", settings.insecure),
    ):
        if is_on:
            arguments.append(option)
    return [sys.executable, "-m", "metastore.api", *arguments, "--until-stdin-ends"]


class Gateway:
    """While entered, the command runs. One thread waits for it and starts it again."""

    def __init__(
        self,
        command: Sequence[str],
        logger: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._logger = logger
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # of the process: none is started once it is to stop
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="etcd gateway", daemon=True)

    @property
    def pid(self) -> int:
        """0: it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def __enter__(self) -> "Gateway":
        self._thread.start()
        return self

    def request_stop(self) -> None:
        """Lets it end while the node still stops. Also from a signal handler, so without the lock:
        one that starts at this moment ends with the context."""
        self._stopping.set()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()  # it takes this as the word to stop

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            self._end(process)
        self._thread.join()

    def _keep_running(self) -> None:
        pause_s = PAUSE_S_MIN
        while not self._stopping.is_set():
            started = self._clock()
            ending = self._run_once()
            if self._stopping.is_set():
                return
            if self._clock() - started >= HEALTHY_S:
                pause_s = PAUSE_S_MIN
            self._logger.error("the etcd gateway ended", how=ending, started_again_in_s=pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)

    def _run_once(self) -> str:
        """How it ended."""
        with self._lock:
            if self._stopping.is_set():
                return ""
            try:
                process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
            except OSError as error:
                return f"it could not be started: {error}"
            self._process = process
        code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._logger.error("the etcd gateway did not stop in time and was killed")
            process.kill()
            process.wait()
