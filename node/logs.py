"""Logging, configured once: structured lines on standard error, among them the core's events.

process.py configures; everybody else gets a logger from `get_logger`. A line is written whole or
not at all, by the thread that logs: a paused reader of the pipe must not stop the node.
"""

import logging
import os
import select
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from metastore.node.raft.events import EventKind, Level, Tracer

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_METHODS = {
    Level.DEBUG: ("debug", 10),
    Level.INFO: ("info", 20),
    Level.WARN: ("warning", 30),
    Level.ERROR: ("error", 40),
    Level.FATAL: ("critical", 50),
}
# Everyday events of a busy node, whatever the core calls them: its disk acknowledges in groups.
_ROUTINE = frozenset({EventKind.STABLE_ENTRY_MISSING, EventKind.STABLE_ENTRY_MISMATCHED})
# Fields of events whose names a line has already.
_RENAMED = {"event": "event_name", "level": "event_level", "kind": "event_kind"}


class LossyWriter:
    """Writes lines to a descriptor; a line that cannot be taken now is dropped and counted.

    A pipe that polls writable takes select.PIPE_BUF bytes without waiting, so no write is longer.
    The descriptor stays in blocking mode: that flag is shared with whoever else holds the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLOUT)
        self.lost = 0

    def write(self, text: str) -> int:
        if self.lost:
            text = f"({self.lost} log lines were lost before this one)\n{text}"
        data = text.encode(errors="backslashreplace")
        if len(data) > select.PIPE_BUF:
            data = data[: select.PIPE_BUF - 4] + b"...\n"
        try:
            ready = any(events & select.POLLOUT for _, events in self._poller.poll(0))
            if ready:
                os.write(self._descriptor, data)
        except OSError:  # closed, or its disk is full: there is nobody to tell
            ready = False
        self.lost = 0 if ready else self.lost + 1
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def configure(level: str, format: str, stream: TextIO | LossyWriter | None = None) -> None:
    """Call before the first line. `level` and `format` are the settings of these names; `stream` is
    standard error unless given."""
    target: Any = LossyWriter(sys.stderr.fileno()) if stream is None else stream
    renderer: Any = structlog.processors.JSONRenderer(default=str)
    if format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=stream is None and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=True,
    )
    metastore = logging.getLogger("metastore")
    metastore.handlers = [_ToStructlog()]
    metastore.setLevel(_LEVELS[level])


class _ToStructlog(logging.Handler):
    """Lines of the parts that know only the standard library's logging (transport, engines)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
            logger = structlog.get_logger(part=record.name)
            logger.log(record.levelno, record.getMessage(), **fields)
        except Exception:
            self.handleError(record)


def get_logger(**fields: Any) -> FilteringBoundLogger:
    """A logger that adds these fields to each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(**fields)
    return logger


def core_tracer(logger: FilteringBoundLogger, level_name: str) -> Tracer:
    """The core's events as lines: the sentence, its kind, and the fields. What is below the level
    of this name (a setting) costs one look-up and builds no sentence."""
    least = _LEVELS[level_name]
    levels = {kind: Level.DEBUG if kind in _ROUTINE else kind.level for kind in EventKind}
    writers = {
        kind: getattr(logger, _METHODS[level][0])
        for kind, level in levels.items()
        if level in _METHODS and _METHODS[level][1] >= least
    }

    def trace(kind: EventKind, fields: dict[str, Any]) -> None:
        write = writers.get(kind)
        if write is not None:
            details = {_RENAMED.get(name, name): _plain(value) for name, value in fields.items()}
            write(kind.describe(fields), kind=kind.name.lower(), **details)

    return trace


def _plain(value: object) -> object:
    """A number, flag or text as it is, anything else (a configuration) by its own text."""
    return value if isinstance(value, int | float | str | None) else str(value)
