"""Everything a gateway can be told, once: the options of `metastore gateway`, checked.

Reads the command line and METASTORE_GATEWAY_* variables; opens no file and no socket.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from metastore.api import logs

DEFAULT_LISTEN = "http://127.0.0.1:2379"
SIMPLE_TOKENS = "simple"
CONNECTIONS_MAX = 10_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Command = TypeVar("Command", bound=Callable[..., Any])


class GatewaySettingsInvalid(Exception):
    """Options that cannot be used; says which, and what is expected."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """`node` and `node_status` are the ZeroMQ addresses of the node that the gateway belongs to."""

    node: str
    node_status: str
    listen: Sequence[str] = (DEFAULT_LISTEN,)
    listen_metrics: Sequence[str] = ()
    key_file: Path | None = None  # of the gateway towards its node (CURVE)
    server_keys: Sequence[str] = ()
    cert_file: Path | None = None  # of TLS towards clients
    cert_key_file: Path | None = None
    trusted_ca_file: Path | None = None
    client_cert_auth: bool = False
    auth_token: str = SIMPLE_TOKENS
    connections_max: int = CONNECTIONS_MAX
    insecure: bool = False
    log_level: str = "info"
    log_format: str = "console"
    until_stdin_ends: bool = False  # set by the node that started it


def check(settings: GatewaySettings) -> GatewaySettings:
    """Raises GatewaySettingsInvalid."""
    uses_tls = False
    for option in ("listen", "listen_metrics"):
        for url in getattr(settings, option):
            scheme, host = _parse(option, url)
            uses_tls |= scheme == "https"
            if scheme == "http" and not settings.insecure and host not in LOOPBACK:
                raise GatewaySettingsInvalid(
                    f"--{option.replace('_', '-')} {url}: without TLS only this machine may be "
                    "served; give https and certificates, or --insecure"
                )
    if uses_tls and (settings.cert_file is None or settings.cert_key_file is None):
        raise GatewaySettingsInvalid("https needs --cert-file and --cert-key-file")
    if settings.client_cert_auth and settings.trusted_ca_file is None:
        raise GatewaySettingsInvalid("--client-cert-auth needs --trusted-ca-file")
    if (settings.key_file is None) != (not settings.server_keys):
        raise GatewaySettingsInvalid("--key-file and --server-key belong together")
    return settings


def _parse(option: str, url: str) -> tuple[str, str]:
    flag = f"--{option.replace('_', '-')}"
    expected = f"{flag} {url!r}: expected http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise GatewaySettingsInvalid(expected) from None
    is_plain = parts.path in ("", "/") and not parts.query and not parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or not port or not is_plain:
        raise GatewaySettingsInvalid(expected)
    return parts.scheme, parts.hostname


_OPTIONS = (
    click.option("--node", required=True, metavar="ADDRESS", help="Its node's client address."),
    click.option(
        "--node-status", required=True, metavar="ADDRESS", help="Its node's status address."
    ),
    click.option(
        "--listen",
        multiple=True,
        default=(DEFAULT_LISTEN,),
        show_default=True,
        metavar="URL",
        help="Where etcd's clients reach it, gRPC and HTTP on one port. Repeatable.",
    ),
    click.option(
        "--listen-metrics",
        multiple=True,
        metavar="URL",
        help="Where /metrics and /health are served beside that. Repeatable.",
    ),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        help="The gateway's own key (`metastore keygen`), for a node that uses keys; its public "
        "half belongs to a client with the role admin, or to the nodes, in the access file.",
    ),
    click.option(
        "--server-key",
        "server_keys",
        multiple=True,
        metavar="KEY",
        help="Public key that the node may have. Repeatable.",
    ),
    click.option("--cert-file", type=click.Path(path_type=Path), help="Certificate, for https."),
    click.option("--cert-key-file", type=click.Path(path_type=Path), help="Its private key."),
    click.option(
        "--trusted-ca-file",
        type=click.Path(path_type=Path),
        help="Certificates that clients' certificates must come from.",
    ),
    click.option(
        "--client-cert-auth",
        is_flag=True,
        help="Take only clients with such a certificate; its common name is the user.",
    ),
    click.option(
        "--auth-token",
        default=SIMPLE_TOKENS,
        show_default=True,
        metavar="SPEC",
        help="simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=NAME,ttl=10m.",
    ),
    click.option(
        "--connections-max",
        type=click.IntRange(min=1),
        default=CONNECTIONS_MAX,
        show_default=True,
        help="How many connections are served at once.",
    ),
    click.option(
        "--insecure", is_flag=True, help="Allow plain http on addresses others can reach."
    ),
    click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True),
    click.option(
        "--log-format", type=click.Choice(logs.FORMATS), default="console", show_default=True
    ),
    click.option("--until-stdin-ends", is_flag=True, hidden=True),
)


def options(command: Command) -> Command:
    """Gives a click command the options of GatewaySettings, as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
