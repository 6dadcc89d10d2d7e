r"""Keys and values as JSON lines: readable where they are UTF-8, base64 where they are not.

Reading order 5 of the commands. Pure. One line per key:

    {"key":"a","value":"1"}     {"key_base64":"/w==","value":"1"}

A pair always encodes to the same bytes, and every pair survives the way out and back.
"""

import base64
import binascii
import json
from typing import Any

FIELDS = ("key", "key_base64", "value", "value_base64")


class BadLine(ValueError):
    """A line that is no key and value; the sentence says why."""


def encode_line(key: bytes, value: bytes | None) -> bytes:
    """Without the line's end. A value of None is left out."""
    fields = encode_field("key", key)
    if value is not None:
        fields |= encode_field("value", value)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def decode_line(line: bytes) -> tuple[bytes, bytes]:
    """(key, value). Raises BadLine."""
    try:
        fields = json.loads(line, object_pairs_hook=_unique_fields)
    except BadLine:
        raise
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadLine('not an object such as {"key": "a", "value": "1"}')
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise BadLine(f"unknown field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    key = _decode_field(fields, "key")
    if not key:
        raise BadLine("the key is empty")
    return key, _decode_field(fields, "value")


def encode_field(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def _decode_field(fields: dict[str, Any], name: str) -> bytes:
    coded_name = f"{name}_base64"
    if (name in fields) == (coded_name in fields):
        raise BadLine(f"needs one of {name} and {coded_name}")
    text = fields.get(name, fields.get(coded_name))
    if not isinstance(text, str):
        raise BadLine(f"{name} is not a string; write numbers in quotes")
    try:
        if name in fields:
            return text.encode()
        return base64.b64decode(text, validate=True)
    except UnicodeEncodeError:
        raise BadLine(f"{name} holds half a surrogate pair, which is no text") from None
    except (binascii.Error, ValueError) as error:
        raise BadLine(f"{coded_name} is not base64: {error}") from None


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadLine("a field appears twice")
    return fields
