"""`metastore recover`: a stopped node becomes the only member of a cluster that lost its quorum.

Reading order 11 of the commands. Loads the node's offline tools, and only when run.
"""

from pathlib import Path
from typing import Any

import click

from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar


@click.command(
    epilog="Exit codes: 0 recovered, 1 refused, not confirmed or failed, 3 in use by a running "
    "node, no data directory, or its engine is not installed. See docs/guide/recover.md."
)
@click.argument("data_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--node-id", required=True, type=click.IntRange(min=1),
              help="Whose directory it is; another node's is refused.")  # fmt: skip
@click.option("--force", is_flag=True, help="Although other members answer, or though this node "
              "is only a learner.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def recover(ctx: click.Context, data_dir: Path, node_id: int, force: bool, yes: bool) -> None:
    """Last resort, when a majority of the disks is gone: make the node of DATA_DIR the only member
    of its cluster, with everything that its disk has.

    What the others acknowledged and this disk has not is lost. All other members are removed for
    ever. Start the node again and add new members.
    """
    from metastore.node.offline.failures import BAD, NOT_READ
    from metastore.node.offline.recover import open_recovery
    from metastore.node.offline.recovery_plan import Refused

    try:
        with (
            progress_bar() as show,
            open_recovery(data_dir, node_id, show, is_forced=force) as recovery,
        ):
            for sentence in recovery.plan.sentences():
                click.echo(sentence)
            present = _who_is_there(recovery.plan)
            if present and not force:
                raise Refused(
                    f"node {present[0]} is there; two clusters of one name are two truths. Stop it "
                    "first, or repeat with --force"
                )
            if not yes and not _is_confirmed():
                raise Refused("not confirmed")
            done = recovery.carry_out()
    except NOT_READ as error:
        click.echo(f"metastore: nothing was changed: {error}", err=True)
        ctx.exit(ExitCode.UNAVAILABLE)
    except (*BAD, Refused) as error:
        click.echo(f"metastore: nothing was changed: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    click.echo(
        f"{data_dir}: node {node_id} is the only member, {done.key_count} keys, revision "
        f"{done.revision}; the directory as it was: {done.kept}"
    )


def _who_is_there(plan: Any) -> list[int]:
    """Says how each of the others answers; those with whom the cluster may be going on."""
    from metastore.node.offline import asking

    present = []
    for node_id, address, sign in asking.ask(
        plan.others, plan.identity.cluster_id, asking.PATIENCE_S
    ):
        click.echo(f"node {node_id} ({address}) {sign.value}")
        if sign in (asking.Sign.LED, asking.Sign.UNCLEAR):
            present.append(node_id)
    return present


def _is_confirmed() -> bool:
    try:
        return click.confirm("Go on?")
    except click.Abort:  # interrupted, or there is nobody to ask
        return False
