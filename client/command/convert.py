"""`metastore convert`: from a backup to an etcd snapshot, for who goes back, or for etcd's tools.

Reading order 11 of the commands. Loads the node's offline tools, and only when run. The gateway
runs it, too, as a process of its own: it may not read what engines write, and a thread that sorts
a million keys would hold up everybody it serves.
"""

from pathlib import Path

import click

from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar


@click.command()
@click.argument("backup", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def convert(ctx: click.Context, backup: Path, target: Path) -> None:
    """Write what BACKUP holds to TARGET as an etcd snapshot, as `etcdctl snapshot save` does.

    Keys, values, revisions, leases and the history down to the last compaction are in it; `etcdutl
    snapshot restore` makes an etcd of it. TARGET gets its name once it is whole.
    """
    from metastore.node.offline.etcd.export import export_snapshot
    from metastore.node.offline.failures import BAD

    try:
        with progress_bar() as show:
            made = export_snapshot(backup, target, show)
    except BAD as error:
        click.echo(f"metastore: nothing was converted: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    click.echo(
        f"{target}: revision {made.revision}, {made.change_count} versions of keys, "
        f"{made.size_bytes} bytes"
    )
