"""The gateway's lines on standard error: structured, and the same shape as the node's.

Whoever logs takes `logging.getLogger("metastore.api.…")` of the standard library, or structlog
itself; this is called once, by the process.
"""

import logging
import sys

import structlog

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("console", "json")


def configure(level: str, format: str) -> None:
    """`level` of LEVELS, `format` of FORMATS."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.ExtraAdder(),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(default=str)
    if format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)  # of the libraries
    logging.getLogger("metastore").setLevel(level.upper())
    structlog.configure(
        processors=[*shared[1:], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
