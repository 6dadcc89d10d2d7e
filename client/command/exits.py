"""The exit codes of the `metastore` command, and which error leaves with which.

Reading order 2 of the commands.
"""

from enum import IntEnum

from metastore.client.errors import MetastoreError, OutcomeUnknown, Unavailable


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1  # not found, or refused
    USAGE = 2
    UNAVAILABLE = 3  # nothing happened
    OUTCOME_UNKNOWN = 4  # a write may or may not have happened
    INTERRUPTED = 130  # as shells count SIGINT
    BROKEN_PIPE = 141  # as shells count SIGPIPE


def exit_code_of(error: MetastoreError) -> ExitCode:
    if isinstance(error, OutcomeUnknown):
        return ExitCode.OUTCOME_UNKNOWN
    if isinstance(error, Unavailable):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED
