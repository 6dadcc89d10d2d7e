"""The types of an operation's fields, and what is raised when something is no request.

Below shapes.py and auth_shapes.py, which say what belongs where.
"""

from collections.abc import Sequence
from typing import Any


class MalformedRequest(ValueError):
    """Bytes that are no request; the sentence says what is wrong."""


def check_fields(fields: Sequence[Any], shape: Sequence[type], what: str) -> None:
    """Raises MalformedRequest. `shape` begins with the operation's code."""
    if len(fields) != len(shape):
        raise MalformedRequest(f"{what} takes {len(shape) - 1} fields")
    for value, expected in zip(fields, shape, strict=True):
        # `type`, not isinstance: a bool is no number here.
        if type(value) is not expected:
            found = type(value).__name__
            raise MalformedRequest(f"{what}: {found} where {expected.__name__} belongs")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise MalformedRequest(f"{what}: {value} does not fit 64 bits")
