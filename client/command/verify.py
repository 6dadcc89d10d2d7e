"""`metastore verify`: whether a data directory, or a backup, is sound. Never writes.

Reading order 11 of the commands. Loads the node's offline tools, and only when run.
"""

from pathlib import Path

import click

from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar


@click.command(
    epilog="Exit codes: 0 sound (warnings included), 1 damaged, 3 not verified: in use by a "
    "running node, no data directory, or its engine is not installed."
)
@click.argument("path", metavar="DATA_DIR|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--cluster-id", metavar="NAME", help="The cluster that it should belong to.")
@click.option("--node-id", type=int, help="The node that it should belong to.")
@click.pass_context
def verify(ctx: click.Context, path: Path, cluster_id: str | None, node_id: int | None) -> None:
    """Read the log, the snapshots and the state of a stopped node, and say what is wrong.

    The first bad place of each part is named with its file and byte, or its index. Nothing is
    repaired and nothing is written. A FILE is verified as a backup.
    """
    from metastore.node.offline.failures import NOT_READ
    from metastore.node.offline.verify import Verdict, verify_directory, verify_file
    from metastore.node.settings import parse_cluster_id

    wanted = None if cluster_id is None else parse_cluster_id(cluster_id)
    worst = Verdict.SOUND
    try:
        with progress_bar() as show:
            if path.is_dir():
                findings = verify_directory(path, show, cluster_id=wanted, node_id=node_id)
            else:
                findings = verify_file(path, show)
            for verdict, part, sentence in findings:
                worst = Verdict.DAMAGED if Verdict.DAMAGED in (verdict, worst) else verdict
                click.echo(f"{verdict.value:8} {part}: {sentence}")
    except NOT_READ as error:
        click.echo(f"metastore: not verified: {error}", err=True)
        ctx.exit(ExitCode.UNAVAILABLE)
    if worst is Verdict.DAMAGED:
        click.echo(f"metastore: {path} is damaged", err=True)
        ctx.exit(ExitCode.FAILED)
