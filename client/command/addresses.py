"""From the global options to a client: where the endpoints come from, and the keys.

Reading order 3 of the commands. The options win over cluster.json, and that over the default.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from metastore.client.client import Client
from metastore.client.errors import InvalidRequest
from metastore.client.security import ClientSecurity, read_security

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7002"
CLUSTER_FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What a launcher's cluster.json tells: addresses by node id, and what goes with keys."""

    client: dict[int, str]
    status: dict[int, str]
    key_file: str  # "": without keys
    server_key: str


def open_client(
    ctx: click.Context,
    *,
    is_pinned: bool = False,
    endpoint: str | None = None,
    use_sessions: bool = True,
) -> Client:
    """A client as the global options want it. Raises click.UsageError for bad addresses."""
    endpoints = [endpoint] if endpoint else find_endpoints(ctx)
    key_file, server_keys = _find_keys(ctx)
    try:
        return Client(
            endpoints,
            timeout_s=ctx.obj["timeout_s"],
            is_pinned=is_pinned,
            use_sessions=use_sessions,
            key_file=key_file,
            server_keys=server_keys,
        )
    except InvalidRequest as error:
        raise click.UsageError(str(error), ctx) from None


def given_timeout(ctx: click.Context) -> float | None:
    """What the user gave as --timeout; None: each call may take what suits it."""
    source = ctx.find_root().get_parameter_source("timeout_s")
    is_given = source not in (None, ParameterSource.DEFAULT)
    return float(ctx.obj["timeout_s"]) if is_given else None


def find_security(ctx: click.Context) -> ClientSecurity | None:
    """For who connects without a client. Raises click.UsageError."""
    try:
        return read_security(*_find_keys(ctx))
    except InvalidRequest as error:
        raise click.UsageError(str(error), ctx) from None


def _find_keys(ctx: click.Context) -> tuple[str, str]:
    """The key file, and the server keys with commas; "" and "" without keys."""
    key_file, server_keys = ctx.obj["key_file"] or "", ",".join(ctx.obj["server_keys"])
    cluster = None if key_file and server_keys else read_cluster_or_none(ctx)
    if cluster is None:
        return key_file, server_keys
    return key_file or cluster.key_file, server_keys or cluster.server_key


def find_endpoints(ctx: click.Context) -> list[str]:
    given = [part.strip() for text in ctx.obj["endpoints"] for part in text.split(",")]
    given = [part for part in given if part]
    if given:
        return given
    cluster = read_cluster_or_none(ctx)
    return [DEFAULT_ENDPOINT] if cluster is None else list(cluster.client.values())


def read_cluster_or_none(ctx: click.Context) -> ClusterFile | None:
    """The cluster.json in force; None if none is. Raises click.UsageError if it cannot be used."""
    if ctx.obj["cluster"] is not None:
        path = Path(ctx.obj["cluster"])
        path = path / CLUSTER_FILE if path.is_dir() else path
    elif not ctx.obj["endpoints"] and Path(CLUSTER_FILE).is_file():
        path = Path(CLUSTER_FILE)
    else:
        return None
    try:
        document = json.loads(path.read_text())
        nodes, keys = document["nodes"], document.get("keys") or {}
        found = ClusterFile(
            {int(node["node_id"]): str(node["client"]) for node in nodes},
            {int(node["node_id"]): str(node["status"]) for node in nodes},
            str(keys.get("client_key_file", "")),
            str(keys.get("server_key", "")),
        )
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}", ctx) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.UsageError(f"{path} is no cluster file; give --endpoints", ctx) from None
    if not found.client:
        raise click.UsageError(f"{path} names no nodes; give --endpoints", ctx)
    return found
