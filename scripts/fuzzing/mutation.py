"""Makes hostile input out of valid input: bytes changed, cut and doubled, and msgpack values
exchanged inside of frames that stay well formed.

The same generator state gives the same input, so a finding is named by a seed and a number. Knows
nothing of what the bytes mean, except that msgpack is common here: a change of raw bytes alone
seldom gets past the first look of a strict decoder.
"""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgpack

Parts: TypeAlias = tuple[bytes, ...]
"""One input: the frames of a message, or the records of a file. Most have one."""

INPUT_BYTES_MAX = 2 << 20
PARTS_MAX = 64
_DEPTH_MAX = 20
_GROWN_MAX = 300  # copies of one element of an array

_EDGES = (0, 1, 2, 3, 9, 16, 127, 128, 255, 256, 4096, 65535, 65536, 1 << 31, (1 << 32) - 1)
_NUMBERS = (*_EDGES, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -128, -(1 << 63))
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0.5, float("nan"), float("inf"), "", "a", "é" * 40, "\0", b"", b"\0"),
    *(b"a" * 300, (), (0,), ((),), {}, {"a": 1}, {b"a": ()}),
    msgpack.ExtType(5, b"x"),
    msgpack.Timestamp(0, 0),
)
# Heads that promise more than follows: arrays, maps, texts and bytes of 2^16 or 2^32 elements.
_PROMISES = (
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(b"\xdb\x7f\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xc9\x40\x00\x00\x00\x01"),
)
# Of the texts that are read: TOML, JSON, flags.
_WORDS = (
    *(b'"', b"'", b'"""', b"\\", b"\\ud800", b"\n", b",", b"=", b"[", b"]", b"{", b"}", b"\xff"),
    *(b"true", b"null", b"1e999", b"-1", b"1" * 5000, b"[a]\n", b"[[a]]\n", b"a.b = 1\n", b"NaN"),
)
# Not "a.": tomllib takes the square of a dotted key's length, and its files are the operator's.
_NESTS = (b"\x91", b"\x81\xa1a", b"[", b'{"a":', b"a = [")


class Mutator:
    """Draws everything from `chance`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._of_bytes: Sequence[Callable[[bytes], bytes]] = (
            *(self._flip, self._set_byte, self._cut, self._drop, self._double, self._insert),
            *(self._number, self._promise, self._nested, self._pad),
        )

    def mutate(self, parts: Parts) -> Parts:
        """Another input, seldom the same; at most INPUT_BYTES_MAX bytes."""
        made = list(parts) or [b""]
        for _ in range(1 + int(self._chance.expovariate(0.7))):
            if self._chance.random() < 0.06:
                made = self._rearranged(made)
            place = self._chance.randrange(len(made))
            made[place] = self._mutated(made[place])
        size = 0
        for place, part in enumerate(made):
            made[place] = part[: max(0, INPUT_BYTES_MAX - size)]
            size += len(part)
        return tuple(made[:PARTS_MAX])

    def noise(self) -> Parts:
        """Frames of chance alone."""
        chance = self._chance
        return tuple(
            chance.randbytes(int(chance.expovariate(0.02))) for _ in range(chance.randrange(1, 6))
        )

    def _mutated(self, part: bytes) -> bytes:
        if self._chance.random() < 0.6:
            changed = self._with_other_values(part)
            if changed is not None:
                return changed
        return self._chance.choice(self._of_bytes)(part)

    def _rearranged(self, parts: list[bytes]) -> list[bytes]:
        chance, made = self._chance, list(parts)
        kind = chance.randrange(4)
        if kind == 0 and len(made) > 1:
            del made[chance.randrange(len(made))]
        elif kind == 1:
            chance.shuffle(made)
        elif kind == 2:
            made.insert(chance.randrange(len(made) + 1), chance.choice((b"", b"\0", *made)))
        else:
            made.extend(made * chance.randrange(1, 4))
        return made[:PARTS_MAX]

    # --- bytes

    def _place(self, data: bytes) -> int:
        return self._chance.randrange(len(data) + 1)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return b"\x01"
        made = bytearray(data)
        made[self._chance.randrange(len(made))] ^= 1 << self._chance.randrange(8)
        return bytes(made)

    def _set_byte(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + bytes((self._chance.randrange(256),)) + data[place + 1 :]

    def _cut(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] if self._chance.random() < 0.7 else data[place:]

    def _drop(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + data[place + self._chance.randrange(1, 9) :]

    def _double(self, data: bytes) -> bytes:
        low, high = sorted((self._place(data), self._place(data)))
        return data[:high] + data[low:high] * self._chance.randrange(1, 4) + data[high:]

    def _insert(self, data: bytes) -> bytes:
        place = self._place(data)
        made = self._chance.choice(_WORDS)
        if self._chance.random() < 0.5:
            made = self._chance.randbytes(self._chance.randrange(1, 17))
        return data[:place] + made + data[place:]

    def _number(self, data: bytes) -> bytes:
        """An edge of a number in place of what stands there, in either order of bytes."""
        kind = self._chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        size = struct.calcsize(kind)
        number = self._chance.choice(_EDGES) & ((1 << 8 * size) - 1)
        place = self._place(data)
        return data[:place] + struct.pack(kind, number) + data[place + size :]

    def _promise(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + self._chance.choice(_PROMISES) + data[place:]

    def _nested(self, data: bytes) -> bytes:
        """Too deep; or arrays in arrays, each of which promises as many elements as there are
        bytes."""
        count = self._chance.choice((3, 30, 300, 510, 1000, 5000))
        if self._chance.random() < 0.7:
            place = self._chance.choice((0, self._place(data)))
            return data[:place] + self._chance.choice(_NESTS) * count
        size = self._chance.choice((3_000, 3_000, 30_000, 300_000))
        head = b"\xdd" + struct.pack(">I", size - 1)
        return (head * min(count, 510)).ljust(size, b"\xc0")

    def _pad(self, data: bytes) -> bytes:
        size = 1 << self._chance.randrange(1, 16 if self._chance.random() < 0.98 else 21)
        return data + bytes((self._chance.choice((0, 0x91, 0xC0, 0xFF)),)) * size

    # --- values inside of msgpack

    def _with_other_values(self, data: bytes) -> bytes | None:
        """None where the bytes are no msgpack, or what was made of them is none."""
        try:
            value = msgpack.unpackb(data, use_list=False, strict_map_key=False)
            return bytes(msgpack.packb(self._other(value, 0)))
        except Exception:  # whatever is wrong with it; the bytes themselves can still be changed
            return None

    def _other(self, value: Any, depth: int) -> Any:
        chance = self._chance
        if depth < _DEPTH_MAX and value and chance.random() < 0.8:
            if isinstance(value, tuple):
                return self._other_array(value, depth)
            if isinstance(value, dict):
                return self._other_map(value, depth)
        if isinstance(value, bytes) and value and chance.random() < 0.5:
            return self._mutated(value) if depth < _DEPTH_MAX else self._flip(value)
        if isinstance(value, bool):
            return chance.choice((not value, 0, 1))
        if isinstance(value, int) and chance.random() < 0.8:
            return self._other_number(value)
        return chance.choice((*_VALUES, *_NUMBERS))

    def _other_number(self, value: int) -> int:
        if self._chance.random() < 0.4:
            return max(-(1 << 63), min(value + self._chance.randrange(-3, 4), (1 << 64) - 1))
        return self._chance.choice(_NUMBERS)

    def _other_array(self, value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
        chance, made = self._chance, list(value)
        place, kind = chance.randrange(len(made)), chance.random()
        if kind < 0.7:
            made[place] = self._other(made[place], depth + 1)
        elif kind < 0.78:
            del made[place]
        elif kind < 0.86:
            made.insert(place, chance.choice((*_VALUES, *_NUMBERS, made[place])))
        elif kind < 0.92:
            made[place:place] = [made[place]] * chance.randrange(1, _GROWN_MAX)
        elif kind < 0.96:
            chance.shuffle(made)
        else:
            made[place] = tuple(made)
        return tuple(made)

    def _other_map(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        made = dict(value)
        name = self._chance.choice(sorted(made, key=repr))
        kind = self._chance.random()
        if kind < 0.7:
            made[name] = self._other(made[name], depth + 1)
        elif kind < 0.85:
            del made[name]
        else:
            made[self._chance.choice(("", "x", b"x", 1, None))] = made[name]
        return made
