"""The datadriven file format: directives with their arguments, input and expected output.

First of the conformance modules. Only reads text; it knows no command and nothing of Raft.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "----"


class MalformedFile(Exception):
    """Not readable as directives, or a directive without sense; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Argument:
    """`key`, `key=value` or `key=(v1,v2)`. No value at all means a positional argument."""

    key: str
    values: tuple[str, ...]
    word: str  # as written

    @property
    def is_positional(self) -> bool:
        return not self.values


@dataclass(frozen=True, slots=True)
class Directive:
    """One command of a file; `expected` ends in a newline unless it is empty."""

    line: int
    command: str
    arguments: tuple[Argument, ...]
    input: str
    expected: str

    def malformed(self, reason: str) -> MalformedFile:
        return MalformedFile(self.line, f"{self.command}: {reason}")

    def positional(self) -> list[str]:
        return [argument.word for argument in self.arguments if argument.is_positional]

    def positional_numbers(self) -> list[int]:
        return [self.number_of(word) for word in self.positional()]

    def values_or_none(self, key: str) -> tuple[str, ...] | None:
        """The values of a named argument, or None when it was not given."""
        for argument in self.arguments:
            if argument.key == key and not argument.is_positional:
                return argument.values
        return None

    def value_or_none(self, key: str) -> str | None:
        values = self.values_or_none(key)
        if values is not None and len(values) != 1:
            raise self.malformed(f"{key} takes one value")
        return None if values is None else values[0]

    def numbers(self, key: str) -> tuple[int, ...]:
        return tuple(self.number_of(value) for value in self.values_or_none(key) or ())

    def number(self, key: str, default: int) -> int:
        value = self.value_or_none(key)
        return default if value is None else self.number_of(value)

    def flag(self, key: str) -> bool:
        value = self.value_or_none(key)
        if value not in (None, "true", "false"):
            raise self.malformed(f"{key} must be true or false, not {value!r}")
        return value == "true"

    def number_of(self, word: str) -> int:
        if not (word.isascii() and word.isdigit()):
            raise self.malformed(f"{word!r} is not a number")
        return int(word)


def read_directives(path: Path) -> list[Directive]:
    """Raises OSError for an unreadable file, MalformedFile for one that is not in the format."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedFile(1, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse_directives(text)


def parse_directives(text: str) -> list[Directive]:
    """Raises MalformedFile."""
    lines = _Lines(text)
    return list(iter(lambda: _next_directive(lines), None))


class _Lines:
    """The lines of a file with the number of the one read last."""

    def __init__(self, text: str) -> None:
        # Not splitlines(): it would also cut at form feeds and at Unicode's line separators.
        parts = text.split("\n")
        if parts[-1] == "":
            parts.pop()
        self._rest: Iterator[str] = iter(parts)
        self.number = 0

    def next_or_none(self) -> str | None:
        line = next(self._rest, None)
        if line is None:
            return None
        self.number += 1
        return line.removesuffix("\r")


def _next_directive(lines: _Lines) -> Directive | None:
    while (line := lines.next_or_none()) is not None:
        line = line.strip()
        if line and not line.startswith("#"):
            break
    else:
        return None
    number = lines.number
    while line.endswith("\\"):
        line = line[:-1] + " " + (lines.next_or_none() or "").strip()
    command, *words = _words(line, number)
    arguments = tuple(_argument(word) for word in words)
    return Directive(number, command, arguments, _read_input(lines, number), _read_expected(lines))


def _words(line: str, number: int) -> list[str]:
    """Cut at blanks outside parentheses."""
    words: list[str] = []
    depth = 0
    for character in line:
        if character in " \t" and depth == 0:
            words.append("")
            continue
        depth += (character == "(") - (character == ")")
        if not words:
            words.append("")
        words[-1] += character
    if depth != 0:
        raise MalformedFile(number, "parentheses do not match")
    return [word for word in words if word]


def _argument(word: str) -> Argument:
    key, equals, value = word.partition("=")
    if not equals:
        return Argument(word, (), word)
    if value.startswith("(") and value.endswith(")"):
        return Argument(key, tuple(_listed_values(value[1:-1])), word)
    return Argument(key, (value,), word)


def _listed_values(text: str) -> Iterator[str]:
    depth = 0
    value = ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield value
            value = ""
        elif value or character not in " \t":
            value += character
    if value or text:
        yield value


def _read_input(lines: _Lines, number: int) -> str:
    kept: list[str] = []
    while (line := lines.next_or_none()) != SEPARATOR:
        if line is None:
            raise MalformedFile(number, f"the directive has no {SEPARATOR!r} line")
        kept.append(line)
    return "\n".join(kept).strip()


def _read_expected(lines: _Lines) -> str:
    line = lines.next_or_none()
    if line == SEPARATOR:
        return _read_expected_with_blanks(lines)
    kept: list[str] = []
    while line is not None and line.strip():
        kept.append(line + "\n")
        line = lines.next_or_none()
    return "".join(kept)


def _read_expected_with_blanks(lines: _Lines) -> str:
    start = lines.number
    kept: list[str] = []
    while (line := lines.next_or_none()) is not None:
        kept.append(line + "\n")
        if line != SEPARATOR:
            continue
        following = lines.next_or_none()
        if following == SEPARATOR:
            return "".join(kept[:-1])
        if following is not None:
            kept.append(following + "\n")
    raise MalformedFile(start, "the expected output is not closed by two separator lines")
