"""What a decoder has to keep to, whatever it is given.

A target refuses an input with one of its documented errors or accepts it; what it accepted, encoded
again, means the same. Anything else that it raises is a finding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fuzzing.mutation import Parts


class Broken(Exception):
    """A rule that an input broke; the sentence says which."""


@dataclass(frozen=True)
class Target:
    """`seeds`: valid inputs, which are accepted. `encode`: of what was accepted, where there is an
    encoder. `errors`: what `decode` may raise, by its documentation."""

    name: str
    seeds: Sequence[Parts]
    decode: Callable[[Parts], Any]
    errors: tuple[type[Exception], ...] = ()
    encode: Callable[[Any], Parts] | None = None


def check(target: Target, parts: Parts) -> bool:
    """Whether the input was accepted. Raises Broken, with the decoder's own error as its cause."""
    try:
        value = target.decode(parts)
    except target.errors:
        return False
    except Exception as error:
        raise Broken(f"{target.name} raised {type(error).__name__}: {error}") from error
    if target.encode is not None:
        try:
            packed = target.encode(value)
            again = target.decode(packed)
        except Exception as error:
            raise Broken(f"{target.name} accepted {value!r:.300}, then {error!r}") from error
        # A NaN is not itself, but its bytes are.
        if again != value and target.encode(again) != packed:
            raise Broken(f"{target.name}: {value!r:.300} came back as {again!r:.300}")
    return True


def of_one(decode: Callable[[bytes], Any]) -> Callable[[Parts], Any]:
    """For decoders of one piece of bytes: an input of several is their chain."""
    return lambda parts: decode(parts[0] if len(parts) == 1 else b"".join(parts))


def each(*frames: bytes) -> tuple[Parts, ...]:
    """Seeds of one part each."""
    return tuple((frame,) for frame in frames)
