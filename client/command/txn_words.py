"""The words of a transaction on the command line, and what they mean.

Reading order 10 of the commands. Pure. Words are split as a shell would, so that quotes hold
together what belongs together:

    value KEY = TEXT      version KEY > 0     create KEY = 0     mod KEY != 17     lease KEY = 5f3a
    put KEY VALUE [--lease ID]     get KEY [--prefix]     del KEY [--prefix]
"""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from metastore.client import comparisons, ops
from metastore.client.command.printing import parse_lease_id
from metastore.client.comparisons import Comparison, Subject
from metastore.client.keys import prefix_range
from metastore.transport.schema import Operation

CONDITION_FORM = "'value KEY = TEXT' or '{version|create|mod|lease} KEY {=|!=|>|<} NUMBER'"
OPERATION_FORM = "'put KEY VALUE [--lease ID]', 'get KEY [--prefix]' or 'del KEY [--prefix]'"

_SUBJECTS: dict[str, Callable[[bytes], Subject]] = {
    "value": comparisons.value,
    "version": comparisons.version,
    "create": comparisons.create_revision,
    "mod": comparisons.mod_revision,
    "lease": comparisons.lease_of,
}
_COMPARISONS: dict[str, Callable[[Subject, bytes | int], Comparison]] = {
    "=": Subject.__eq__,
    "==": Subject.__eq__,
    "!=": Subject.__ne__,
    ">": Subject.__gt__,
    "<": Subject.__lt__,
}


class BadWords(ValueError):
    """What cannot be understood; the sentence says what would be."""


@dataclass(slots=True)
class Transaction:
    conditions: list[Comparison] = field(default_factory=list)
    then: list[Operation] = field(default_factory=list)
    otherwise: list[Operation] = field(default_factory=list)


def parse_transaction(
    conditions: Sequence[str], then: Sequence[str], otherwise: Sequence[str]
) -> Transaction:
    """Raises BadWords."""
    return Transaction(
        [parse_condition(text) for text in conditions],
        [parse_operation(text) for text in then],
        [parse_operation(text) for text in otherwise],
    )


def parse_lines(text: str) -> Transaction:
    """Lines that begin with if, then or else; empty ones and # comments do not count. Raises
    BadWords with the number of the line."""
    found = Transaction()
    branches = {"then": found.then, "else": found.otherwise}
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            continue
        try:
            if word == "if":
                found.conditions.append(parse_condition(rest))
            elif word in branches:
                branches[word].append(parse_operation(rest))
            else:
                raise BadWords(f"begins with {word!r}; lines begin with if, then or else")
        except BadWords as error:
            raise BadWords(f"line {number}: {error}") from None
    return found


def parse_condition(text: str) -> Comparison:
    """Raises BadWords."""
    words = _split(text)
    if len(words) != 4 or words[0] not in _SUBJECTS or words[2] not in _COMPARISONS:
        raise BadWords(f"{text!r} is no condition; write {CONDITION_FORM}")
    name, key, comparison, operand = words
    subject = _SUBJECTS[name](os.fsencode(key))
    return _COMPARISONS[comparison](subject, _parse_operand(name, operand))


def parse_operation(text: str) -> Operation:
    """Raises BadWords."""
    match _split(text):
        case ["put", key, value]:
            return ops.put(os.fsencode(key), os.fsencode(value))
        case ["put", key, value, "--lease", lease]:
            return ops.put(os.fsencode(key), os.fsencode(value), lease=_parse_lease(lease))
        case ["get", key]:
            return ops.get(os.fsencode(key))
        case ["get", key, "--prefix"]:
            return ops.range(*prefix_range(os.fsencode(key)))
        case ["del", key]:
            return ops.delete(os.fsencode(key))
        case ["del", key, "--prefix"]:
            return ops.delete(*prefix_range(os.fsencode(key)))
    raise BadWords(f"{text!r} is no operation; write {OPERATION_FORM}")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadWords(f"{text!r} cannot be split into words: {error}") from None


def _parse_operand(name: str, text: str) -> bytes | int:
    if name == "value":
        return os.fsencode(text)
    if name == "lease":
        return _parse_lease(text)
    try:
        return int(text)
    except ValueError:
        raise BadWords(f"{text!r} is no number; a {name} is compared with one") from None


def _parse_lease(text: str) -> int:
    try:
        return parse_lease_id(text)
    except ValueError as error:
        raise BadWords(str(error)) from None
