"""The gateway as a process: options, signals, and what the exit tells.

The outermost room of api/: `main` is what `python -m metastore.api` and `metastore gateway` call.
Nothing here must last, so stopping is quick: no new connections, streams are told, calls under way
get a moment.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import click

from metastore.api import logs
from metastore.api.access.jwt_tokens import TokenSpecInvalid
from metastore.api.calls import ApiError
from metastore.api.front.tls import TlsFilesInvalid
from metastore.api.gateway import Gateway
from metastore.api.settings import GatewaySettings, GatewaySettingsInvalid, options
from metastore.client.errors import InvalidRequest

EXIT_OK, EXIT_CONFIGURATION, EXIT_NETWORK = 0, 2, 5  # as the node's

_log = logging.getLogger("metastore.api")


def main(argv: Sequence[str]) -> int:
    """Serves until told to stop (SIGTERM, SIGINT); returns the exit code."""
    try:
        settings = _command.main(list(argv), "metastore gateway", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        return EXIT_CONFIGURATION
    if not isinstance(settings, GatewaySettings):  # --help
        return EXIT_OK
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(_serve(settings))
    except (GatewaySettingsInvalid, TlsFilesInvalid, TokenSpecInvalid, InvalidRequest) as error:
        return _failed(error, EXIT_CONFIGURATION)
    except (OSError, ApiError) as error:  # a taken port; a node that is not there
        return _failed(error, EXIT_NETWORK)
    return EXIT_OK


def _failed(error: Exception, code: int) -> int:
    text = " ".join(str(error).split())
    with suppress(OSError, ValueError):  # standard error may be closed; the exit code still tells
        sys.stderr.write(f"metastore gateway stopped, exit code {code}: {text}\n")
    return code


@click.command(context_settings={"show_default": True, "auto_envvar_prefix": "METASTORE_GATEWAY"})
@options
def _command(**values: Any) -> GatewaySettings:
    """The etcd v3 API of one node, for clients of etcd: gRPC and JSON over HTTP on one port."""
    return GatewaySettings(**values)


async def _serve(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.until_stdin_ends:
        await _watch_stdin(stop)
    entering = asyncio.ensure_future(Gateway(settings).__aenter__())
    stopped = asyncio.ensure_future(stop.wait())
    # While it waits for its node it can be told to stop as well.
    await asyncio.wait((entering, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not entering.done():
        entering.cancel()
        with suppress(asyncio.CancelledError):
            await (await entering).__aexit__()
        return
    async with _entered(await entering):
        _log.info("ready to serve client requests", extra={"listen": ", ".join(settings.listen)})
        await stopped
        _log.info("the gateway stops")


@asynccontextmanager
async def _entered(gateway: Gateway) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await gateway.__aexit__()


async def _watch_stdin(stop: asyncio.Event) -> None:
    """The node that started us holds the other end, and writes nothing: its end is our word."""

    class Ending(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(Ending, sys.stdin)
