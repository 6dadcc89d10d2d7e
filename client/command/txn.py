"""`metastore txn`: several operations at one revision, if conditions hold.

Reading order 11 of the commands: the face of txn_words.py.
"""

import sys
from collections.abc import Iterable, Sequence

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.printing import pair_line, write_line
from metastore.client.command.txn_words import (
    BadWords,
    Transaction,
    parse_lines,
    parse_transaction,
)
from metastore.client.results import BatchResult, DeleteResult, PutResult, RangeResult


@click.command()
@click.option("--if", "conditions", multiple=True, metavar="CONDITION", help="Repeatable.")
@click.option("--then", multiple=True, metavar="OPERATION", help="Repeatable; in this order.")
@click.option("--else", "otherwise", multiple=True, metavar="OPERATION", help="Likewise.")
@click.pass_context
def txn(
    ctx: click.Context,
    conditions: tuple[str, ...],
    then: tuple[str, ...],
    otherwise: tuple[str, ...],
) -> None:
    """Carry out every --then at one revision if every --if holds, else every --else.

    \b
    metastore txn --if 'value jobs/17 = waiting' \\
                  --then 'put jobs/17 running' --else 'get jobs/17'

    A CONDITION compares the value, version, create or mod revision, or lease of a key, with =, !=,
    > or <:

    \b
    value KEY = TEXT    version KEY > 0    create KEY = 0    mod KEY = 17    lease KEY = 5f3a9c

    An OPERATION is one of

    \b
    put KEY VALUE [--lease ID]    get KEY [--prefix]    del KEY [--prefix]

    Quote what has spaces. Without any option they are read from the standard input, a line each,
    after the word if, then or else.

    Prints "succeeded" or "failed", then what each operation gave. Exits with 1 if the conditions
    did not hold.
    """
    transaction = _parsed(ctx, conditions, then, otherwise)
    with open_client(ctx) as client:
        result = client.txn(transaction.conditions, transaction.then, transaction.otherwise)
    write_line(b"succeeded" if result.succeeded else b"failed")
    for one in result.results:
        for line in _lines_of(one):
            write_line(line)
    if not result.succeeded:
        ctx.exit(ExitCode.FAILED)


def _parsed(
    ctx: click.Context,
    conditions: Sequence[str],
    then: Sequence[str],
    otherwise: Sequence[str],
) -> Transaction:
    """Raises click.UsageError."""
    try:
        if conditions or then or otherwise:
            transaction = parse_transaction(conditions, then, otherwise)
        else:
            text = sys.stdin.buffer.read().decode(errors="surrogateescape")
            transaction = parse_lines(text)
    except BadWords as error:
        raise click.UsageError(str(error), ctx) from None
    if not (transaction.then or transaction.otherwise):
        raise click.UsageError("the transaction does nothing; give a --then or an --else", ctx)
    return transaction


def _lines_of(result: BatchResult) -> Iterable[bytes]:
    """As the commands put, get and del print it."""
    if isinstance(result, PutResult):
        yield b"revision %d" % result.revision
    elif isinstance(result, DeleteResult):
        yield b"deleted %d" % result.deleted
    elif isinstance(result, RangeResult):
        yield from map(pair_line, result.items)
