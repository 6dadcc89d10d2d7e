"""`metastore etcd`: started where a script starts etcd, with etcd's flags.

Reading order 9 of the commands. Beside `serve` the only place of the client that runs a node. The
flags are read by etcd_flags.py and translated by etcd_mapping.py; here is what has to be looked up:
who this member was at its last start, or what number a running cluster has for it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from metastore.client.client import Client
from metastore.client.command.etcd_flags import (
    REFUSED,
    USED,
    USED_SWITCHES,
    WITHOUT_EFFECT,
    read_flags,
)
from metastore.client.command.etcd_mapping import Plan, data_dir, node_arguments, plan_of
from metastore.client.errors import Unavailable

ASK_S = 15.0


class Numbers(NamedTuple):
    node_id: int
    cluster_id: int | str


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def etcd(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run a node in etcd's place: etcd's flags and ETCD_* variables."""
    if arguments and arguments[0].lstrip("-") in ("h", "help"):
        click.echo(_help())
        return
    if arguments and arguments[0].lstrip("-") == "version":
        from metastore.api.version import ETCD_VERSION

        click.echo(f"etcd Version: {ETCD_VERSION}\nmetastore Version: {_own_version()}")
        return
    from metastore.node.process import main

    flags = read_flags(arguments, os.environ)
    plan = plan_of(flags)
    numbers = _numbers(plan, Path(data_dir(flags)))
    command = node_arguments(flags, plan, *numbers)
    for remark in flags.remarks:
        click.echo(f"metastore etcd: {remark}", err=True)
    ctx.exit(main(list(command)) or 0)


def _numbers(plan: Plan, directory: Path) -> Numbers:
    """As at the last start, if there was one: what the flags say of a cluster counts only once."""
    from metastore.node.identity import IDENTITY_FILE, DataDirectoryForeign, read_identity

    file = directory / IDENTITY_FILE
    if file.exists():
        try:
            identity = read_identity(file)
        except (OSError, DataDirectoryForeign) as error:
            raise click.UsageError(f"--data-dir {directory}: {error}") from None
        return Numbers(identity.node_id, identity.cluster_id)
    if plan.is_new:
        return Numbers(plan.node_id(plan.name), plan.cluster_name)
    return _ask_the_cluster(plan)


def _ask_the_cluster(plan: Plan) -> Numbers:
    if not plan.others:
        raise click.UsageError(
            "--initial-cluster-state existing: --initial-cluster names nobody else"
        )
    endpoints = [place.address("client") for place in plan.others]
    try:
        with Client(endpoints, timeout_s=ASK_S) as client:
            members, cluster_id = client.members(), client.cluster_id
    except Unavailable as error:
        raise click.UsageError(f"no member of --initial-cluster answers: {error}") from None
    wanted = plan.own.address("peer")
    for member in members:
        if member.peer == wanted:
            return Numbers(member.node_id, cluster_id)
    raise click.UsageError(
        f"the cluster has no member at {wanted.replace('tcp', 'http')}: add it first "
        "(`etcdctl member add`)"
    )


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("metastore-raft")
    except PackageNotFoundError:  # not installed: run from its folders
        return "unknown"


def _help() -> str:
    return "\n".join((_HELP, *_described(), "", _AFTERWARDS))


def _described() -> Sequence[str]:
    lines = [f"  --{name} {default!r}" for name, default in USED.items()]
    lines += [f"  --{name} 'false'" for name in USED_SWITCHES]
    lines += ["", "Taken, without an effect here:", "  " + ", ".join(WITHOUT_EFFECT)]
    return [*lines, "", "Refused:", *(f"  --{name}: {why}" for name, why in REFUSED.items())]


_HELP = """Usage: metastore etcd [flags]

Starts a node and its gateway where a script would start etcd. Every flag may also be given as a
variable: ETCD_NAME for --name. Nodes reach each other at the port of the peer URL and at three more
above it (+3000, +6000, +9000): clients of MetaStore, status, snapshots.

Flags, with their defaults:"""
_AFTERWARDS = """The node's own settings that have no flag of etcd's are taken from METASTORE_*
variables, as with `metastore serve`: METASTORE_ENGINE=rocksdb, METASTORE_KEY_FILE=…"""
