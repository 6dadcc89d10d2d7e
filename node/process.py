"""One node as a process: settings, logs, identity, engine, loop, signals, and what the exit tells.

The outermost room of node/: `main` is what `python -m metastore.node` and `metastore serve` call.
Every failure ends in one clear last line on standard error and the exit code of its class; nothing
is retried here, that is the supervisor's trade.
"""

import faulthandler
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any

from metastore.engines.contract import RaftLog, StorageDamaged, StorageFailed, Store
from metastore.node import garbage, logs
from metastore.node.access.file import AccessInvalid
from metastore.node.exit_codes import ExitCode
from metastore.node.gateway import Gateway, check_installed, command_of
from metastore.node.identity import DataDirectory, open_data_directory
from metastore.node.identity_errors import (
    DataDirectoryForeign,
    DataDirectoryLocked,
    DataDirectoryUnusable,
    DataDirectoryWiped,
    JoinRefused,
    LostData,
    RemovedFromCluster,
)
from metastore.node.raft.model import LogLost, RaftFailed
from metastore.node.security import NodeSecurity, read_security
from metastore.node.settings import Settings, SettingsInvalid
from metastore.node.settings_sources import load
from metastore.transport.errors import BadAddress, BindFailed, InvariantViolated, KeyFileInvalid

if TYPE_CHECKING:
    from metastore.node.loop import NodeLoop

INSTALL_HINT = "pip install metastore-raft[rocksdb]"

# Sorted by what a person must do; see ExitCode. An OSError at this height is a disk's.
_EXITS: tuple[tuple[tuple[type[BaseException], ...], ExitCode, str], ...] = (
    (
        (SettingsInvalid, BadAddress, KeyFileInvalid, AccessInvalid, JoinRefused),
        ExitCode.CONFIGURATION,
        "bad setting",
    ),
    ((BindFailed,), ExitCode.NETWORK, "network"),
    ((DataDirectoryForeign, DataDirectoryLocked, LostData), ExitCode.IDENTITY, "identity"),
    ((RemovedFromCluster,), ExitCode.REMOVED, "members"),
    ((LogLost,), ExitCode.STORAGE, "storage"),
    ((RaftFailed, InvariantViolated), ExitCode.INVARIANT, "invariant broken, a defect"),
    (
        (StorageDamaged, StorageFailed, DataDirectoryUnusable, DataDirectoryWiped, OSError),
        ExitCode.STORAGE,
        "storage",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the node until told to stop and returns the exit code; `argv` is without the program."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with suppress(OSError, ValueError):  # no usable standard error: nothing to report to
        faulthandler.enable()
    try:
        code, reason = _run(load(arguments, os.environ)), ""
    except Exception as error:
        code, reason = describe(error)
        if code in (ExitCode.INVARIANT, ExitCode.INTERNAL):
            _write("".join(traceback.format_exception(error)))
    if code is not ExitCode.OK:
        _write(f"metastore node stopped, exit code {int(code)} ({code.name.lower()}): {reason}\n")
    return int(code)


def describe(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code of a failure and its one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    for kinds, code, area in _EXITS:
        if isinstance(error, kinds):
            return code, f"{area}: {text}"
    return ExitCode.INTERNAL, f"{type(error).__name__}: {text}"


def _run(settings: Settings) -> ExitCode:
    logs.configure(settings.log_level, settings.log_format)
    logger = logs.get_logger(node_id=settings.node_id)
    _check_engine(settings)
    check_installed(settings)
    security = read_security(settings)
    _allow_many_connections()
    with ExitStack() as stack:
        directory = stack.enter_context(_open_directory(settings))
        garbage.rest_while_loading()
        store, raft_log = _open_engine(settings, directory)
        loop = _make_loop(settings, directory, store, raft_log, security, logger)
        signals = stack.enter_context(StopSignals(loop.request_stop))
        loop.open()
        directory.note_log()
        garbage.leave_out_what_is_there()
        if signals.asked:
            # It came during recovery, when there was no loop yet that could have heard it.
            loop.request_stop()
        if settings.etcd:
            gateway = stack.enter_context(Gateway(command_of(settings, security), logger))
            signals.tell(gateway.request_stop)
        logger.info(
            "node started",
            cluster_id=settings.cluster_id,
            incarnation=directory.identity.incarnation,
            client=settings.client_bind,
            peer=settings.peer_bind,
            status=settings.status_bind,
            sync=settings.sync,
        )
        code = loop.run()
        logger.info("node stopped", code=code.name.lower())
    return code


def _open_directory(settings: Settings) -> "closing[DataDirectory]":
    return closing(
        open_data_directory(
            settings.data_dir,
            settings.cluster_id,
            settings.node_id,
            settings.engine,
            joins=bool(settings.join),
        )
    )


def _check_engine(settings: Settings) -> None:
    """Before a data directory is made, which would belong to an engine that cannot run."""
    driver = settings.rocksdb_driver
    if settings.engine == "rocksdb" and find_spec(driver) is None:
        raise _missing(settings, f"the Python package {driver} is not installed")


def _missing(settings: Settings, reason: str) -> SettingsInvalid:
    expected = f"memory, or what it needs installed ({reason}; {INSTALL_HINT})"
    return SettingsInvalid("settings", "engine", settings.engine, expected)


def _open_engine(settings: Settings, directory: DataDirectory) -> tuple[Store, RaftLog]:
    """Raises SettingsInvalid for an engine that is not installed, StorageDamaged, StorageFailed."""
    if settings.engine == "rocksdb":
        return _open_rocksdb(settings, directory)
    from metastore.engines.memory.store import MemoryStore
    from metastore.engines.memory.wal import WriteAheadLog

    log = directory.path / "wal"
    directory.check_log(log)
    store = MemoryStore(directory.path / "snapshots", node_id=settings.node_id)
    return store, WriteAheadLog(log)


def _open_rocksdb(settings: Settings, directory: DataDirectory) -> tuple[Store, RaftLog]:
    from metastore.engines.rocksdb.driver import EngineMissing
    from metastore.engines.rocksdb.store import RocksStore

    path = directory.path / "rocksdb"
    directory.check_log(path)
    try:
        store = RocksStore(
            path,
            node_id=settings.node_id,
            driver_name=settings.rocksdb_driver,
            cache_bytes=settings.rocksdb_cache_bytes,
            write_buffer_bytes=settings.rocksdb_write_buffer_bytes,
        )
    except EngineMissing as error:
        raise _missing(settings, str(error)) from error
    return store, store.raft_log


def _make_loop(
    settings: Settings,
    directory: DataDirectory,
    store: Store,
    raft_log: RaftLog,
    security: NodeSecurity | None,
    logger: Any,
) -> "NodeLoop":
    from metastore.node.loop import NodeLoop

    return NodeLoop(settings, directory.identity, store, raft_log, security, logger)


def _allow_many_connections() -> None:
    """Every connection costs a descriptor; a socket that may accept no more would spin."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class StopSignals:
    """While entered: the first SIGTERM or SIGINT asks for a stop, the second one ends at once."""

    def __init__(self, request_stop: Callable[[], None]) -> None:
        self._told = [request_stop]
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def tell(self, request_stop: Callable[[], None]) -> None:
        """Somebody else to be asked to stop at the first signal, also if that was before."""
        self._told.append(request_stop)
        if self.asked:
            request_stop()

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            # Whoever asks twice does not want to wait: a crash at any point is safe by design.
            os._exit(128 + number)
        self.asked = True
        for request_stop in self._told:
            request_stop()


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error may be closed; the exit code still tells
        sys.stderr.write(text)
        sys.stderr.flush()
