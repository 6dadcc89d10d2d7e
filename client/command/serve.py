"""`metastore serve`: one node in this process.

Reading order 9 of the commands. The only place of the client that loads the node, and only when
run.
"""

import click


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def serve(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run one node of a cluster; `metastore serve --help` lists the node's own options."""
    from metastore.node.process import main

    ctx.exit(main(list(arguments)) or 0)
