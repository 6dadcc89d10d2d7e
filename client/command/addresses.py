"""From the global options to a client: where the endpoints come from.

Reading order 3 of the commands. The options win over cluster.json, and that over the default.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from metastore.client.client import Client
from metastore.client.errors import InvalidRequest

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7002"
CLUSTER_FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What a launcher's cluster.json tells: addresses by node id."""

    client: dict[int, str]
    status: dict[int, str]


def open_client(
    ctx: click.Context,
    *,
    is_pinned: bool = False,
    endpoint: str | None = None,
    use_sessions: bool = True,
) -> Client:
    """A client as the global options want it. Raises click.UsageError for bad addresses."""
    endpoints = [endpoint] if endpoint else find_endpoints(ctx)
    try:
        return Client(
            endpoints,
            timeout_s=ctx.obj["timeout_s"],
            is_pinned=is_pinned,
            use_sessions=use_sessions,
        )
    except InvalidRequest as error:
        raise click.UsageError(str(error), ctx) from None


def given_timeout(ctx: click.Context) -> float | None:
    """What the user gave as --timeout; None: each call may take what suits it."""
    source = ctx.find_root().get_parameter_source("timeout_s")
    is_given = source not in (None, ParameterSource.DEFAULT)
    return float(ctx.obj["timeout_s"]) if is_given else None


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
        nodes = json.loads(path.read_text())["nodes"]
        found = ClusterFile(
            {int(node["node_id"]): str(node["client"]) for node in nodes},
            {int(node["node_id"]): str(node["status"]) for node in nodes},
        )
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}", ctx) from None
    except (ValueError, KeyError, TypeError):
        raise click.UsageError(f"{path} is no cluster file; give --endpoints", ctx) from None
    if not found.client:
        raise click.UsageError(f"{path} names no nodes; give --endpoints", ctx)
    return found
