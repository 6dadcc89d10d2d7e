"""JSON text to values, as etcd's gateway takes it: lenient at the end, strict inside.

Below json_messages.py, which makes messages of the values. Knows nothing of messages.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

UNFINISHED = "unexpected EOF"  # etcd's

_WHITE = " \t\r\n"
_NOT_WHITE = re.compile(r"[^ \t\r\n]")
_MARKS = re.compile(r'["\\{}\[\]]')  # all that tells where a value ends
_NULL = "null"
_STARTS = frozenset('{["-0123456789tfn')  # of a value of any kind


class Malformed(Exception):
    """Text that is no JSON, or no message; the sentence is for the client."""


class Fraction(str):
    """A number as it was written that is none of the integers: `1.0` too. No message has one."""

    __slots__ = ()


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"invalid character {text[0]!r} looking for beginning of value")


_decoder = json.JSONDecoder(parse_float=Fraction, parse_constant=_refuse_constant)


def text_of(data: bytes) -> str:
    """What is not UTF-8 becomes U+FFFD, as in Go; it can be no more than a part of a text."""
    return data.decode(errors="replace")


def first_value(text: str) -> Any:
    """The first JSON value; what follows it is not looked at. None if there is nothing. Raises
    Malformed."""
    start = _NOT_WHITE.search(text)
    if start is None:
        return None
    try:
        return _decoder.raw_decode(text, start.start())[0]
    except json.JSONDecodeError as error:
        is_unfinished = error.pos >= len(text.rstrip(_WHITE)) or error.msg.startswith(
            "Unterminated"
        )
        raise Malformed(UNFINISHED if is_unfinished else str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None


class JsonStream:
    """Takes a body piece by piece and gives its values, each of which is an object or null. Looks
    at every character once, however small the pieces are."""

    def __init__(self) -> None:
        self._pieces: list[str] = []  # of a value that has begun
        self._depth = 0  # of brackets that are open in it
        self._is_in_text = False
        self._is_escaped = False  # the last character of the last piece was a backslash
        self.size = 0  # characters kept

    def add(self, text: str) -> Iterator[Any]:
        """The values that are complete now. Raises Malformed for what can be none."""
        position = 0
        while position < len(text):
            if not self._depth:
                start = _NOT_WHITE.search(text, position)
                if start is None:
                    return
                position = start.start()
                if self._pieces or text[position] != "{":
                    position, is_complete = self._add_null(text, position)
                    if is_complete:
                        yield None
                    continue
            end = self._end_of_value(text, position)
            self._keep(text[position:end])
            position = end
            if not self._depth:
                yield first_value(self._take())

    def finish(self) -> None:
        """The body is at its end. Raises Malformed if a value is not."""
        if self._pieces:
            raise Malformed(UNFINISHED)

    def _end_of_value(self, text: str, position: int) -> int:
        """Where the value ends, or the text."""
        if self._is_escaped:
            self._is_escaped = False
            position += 1
        while True:
            mark = _MARKS.search(text, position)
            if mark is None:
                return len(text)
            position = mark.end()
            letter = mark.group()
            if letter == '"':
                self._is_in_text = not self._is_in_text
            elif letter == "\\":
                if position == len(text):
                    self._is_escaped = True
                position += 1
            elif self._is_in_text:
                continue
            elif letter in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    return position

    def _add_null(self, text: str, position: int) -> tuple[int, bool]:
        """(where it goes on, whether it was all of it): the one value that is no object and still
        a message."""
        begun = "".join(self._pieces)
        found = begun + text[position : position + len(_NULL) - len(begun)]
        if not _NULL.startswith(found):
            if found[0] in _STARTS:
                raise Malformed("json: a message is an object")
            raise Malformed(f"invalid character {found[0]!r} looking for beginning of value")
        position += len(found) - len(begun)
        self._take()
        if found == _NULL:
            return position, True
        self._keep(found)
        return position, False

    def _keep(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def _take(self) -> str:
        taken = "".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return taken
