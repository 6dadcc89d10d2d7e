"""`metastore restore`: from a backup, or an etcd snapshot, to one member of a new cluster.

Reading order 11 of the commands. Loads the node's offline tools, and only when run.
"""

from pathlib import Path
from typing import Any

import click

from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data-dir", required=True, type=click.Path(path_type=Path),
              help="A new or empty directory.")  # fmt: skip
@click.option("--cluster-id", required=True, metavar="NEWNAME",
              help="The name of the new cluster; not the old one's.")  # fmt: skip
@click.option("--node-id", required=True, type=click.IntRange(min=1), help="Which member this is.")
@click.option("--member", "members", multiple=True, metavar="ID[=ADDRESSES[,ROLE]]",
              help="Every member of the new cluster, as for `serve`; the addresses may be left "
              "out. Repeatable. No id of a member that was removed from the old one. "
              "[default: this node alone]")  # fmt: skip
@click.option("--engine", type=click.Choice(["memory", "rocksdb"]), default="memory",
              show_default=True, help="Of the new node; any backup fits any engine.")  # fmt: skip
@click.option("--bump-revision", type=click.IntRange(min=0, max=1 << 50), metavar="COUNT",
              help="How far to raise the revision: beyond whatever the old cluster came to after "
              "the backup. Of an etcd snapshot 0 keeps it, and the history: only if that etcd "
              "wrote nothing after. [default: 1000000; of an etcd snapshot 0]")  # fmt: skip
@click.option("--skip-hash-check", is_flag=True,
              help="Of an etcd snapshot: take a database that was copied out of a data directory, "
              "which has no hash at its end.")  # fmt: skip
@click.pass_context
def restore(
    ctx: click.Context,
    file: Path,
    data_dir: Path,
    cluster_id: str,
    node_id: int,
    members: tuple[str, ...],
    engine: str,
    bump_revision: int | None,
    skip_hash_check: bool,
) -> None:
    """Make a data directory from the backup FILE, for one member of a new cluster. Run it for every
    member with the same FILE, then start them all.

    Keys, their revisions and leases (with their whole time to live) are as in the backup; sessions
    and history are not: everything up to the raised revision counts as compacted, so that watches
    and caches of the old cluster are told so. FILE may be an etcd snapshot (`etcdctl snapshot
    save`): then revision and history are kept.
    """
    from metastore.node.offline.failures import BAD, NOT_READ
    from metastore.node.offline.restore import Refused, founder, new_identity, restore
    from metastore.node.settings import parse_cluster_id

    try:
        identity = new_identity(parse_cluster_id(cluster_id), node_id, engine)
        founders = [founder(member) for member in members or (str(node_id),)]
    except ValueError as error:
        raise click.UsageError(f"expected {error}", ctx) from None
    _check_bump(ctx, file, bump_revision)
    how: Any = {"bump_revision": bump_revision, "skip_hash_check": skip_hash_check}
    try:
        with progress_bar() as show:
            made = restore(file, data_dir, identity, founders, show, **how)
    except (*NOT_READ, *BAD, Refused) as error:
        click.echo(f"metastore: nothing was restored: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    made_of = f"{made.key_count} keys, revision {made.revision}"
    start = f"start it with --cluster-id {cluster_id} --engine {engine}"
    click.echo(f"{data_dir}: node {node_id} of cluster {cluster_id}, {made_of}; {start}")
    _tell_of_leases(file, made.keys_without_lease)


def _check_bump(ctx: click.Context, file: Path, bump_revision: int | None) -> None:
    """Raises click.UsageError."""
    from metastore.node.offline.etcd.snapshot_file import is_etcd_snapshot

    if bump_revision == 0 and not is_etcd_snapshot(file):
        text = "the revision of a backup has to be raised; only that of an etcd snapshot may stay"
        raise click.UsageError(text, ctx)


def _tell_of_leases(file: Path, keys_without_lease: int) -> None:
    if keys_without_lease:
        click.echo(
            f"metastore: {keys_without_lease} keys name leases that are not in {file}; they stay, "
            "without a lease",
            err=True,
        )
