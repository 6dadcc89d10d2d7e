"""Keys and ranges: text or bytes in, bytes out; and the range that a prefix means.

Reading order 3 of the client. Pure functions.
"""

from metastore.client.errors import InvalidRequest

ALL_KEYS = (b"\0", b"\0")  # (key, range_end) of the whole store, as etcd writes it


def to_bytes(text: str | bytes, what: str) -> bytes:
    """Text becomes UTF-8. Raises InvalidRequest for anything that is neither text nor bytes."""
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    raise InvalidRequest(f"the {what} must be bytes or str, not {type(text).__name__}")


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """(key, range_end) of all keys that start with `prefix`; the empty prefix means all keys."""
    if not prefix:
        return ALL_KEYS
    kept = prefix.rstrip(b"\xff")
    # A prefix of only 0xff bytes has no successor: the range then ends with the last key there is.
    range_end = kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
    return prefix, range_end
