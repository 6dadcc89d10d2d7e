"""Tokens that say whose call it is: what Authenticate gives out and every later call brings back.

Two kinds, as in etcd. A simple token is a sealed note: the user, at which auth revision the
password was set, and when it was issued, signed with the cluster's secret; any gateway can read it,
and nothing has to be kept. A JWT is the same for who has the key. Neither says what a user may do.
"""

import base64
import hashlib
import hmac
import os
from typing import NamedTuple, Protocol

import msgpack

SIGNATURE_BYTES = 16
TOKEN_CHARACTERS_MAX = 4096


class Claims(NamedTuple):
    """What a valid token says. `issued_s`: seconds since 1970 on the clock of who issued it."""

    user: str
    password_revision: int
    issued_s: int


class Tokens(Protocol):
    """`secret`: the cluster's, as bytes."""

    # How long a token lives after it was issued, or was used last; see `slides`.
    ttl_s: float
    slides: bool  # whether using it prolongs its life

    def issue(self, claims: Claims, secret: bytes) -> str: ...

    def read_or_none(self, token: str, secret: bytes, now_s: float) -> Claims | None:
        """None: not one of ours, changed, or (if it says so itself) over."""
        ...


class SimpleTokens:
    """Opaque to clients; lives as long as it is used, as etcd's do."""

    ttl_s = 300.0
    slides = True

    def issue(self, claims: Claims, secret: bytes) -> str:
        data: bytes = msgpack.packb((*claims, os.urandom(8)))
        sealed = data + self._sign(data, secret)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read_or_none(self, token: str, secret: bytes, now_s: float) -> Claims | None:
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        data, signature = sealed[:-SIGNATURE_BYTES], sealed[-SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(data, secret)):
            return None
        user, password_revision, issued_s, _ = msgpack.unpackb(data)  # signed: by us
        return Claims(user, password_revision, issued_s)

    def _sign(self, data: bytes, secret: bytes) -> bytes:
        return hmac.digest(secret, b"metastore token" + data, hashlib.sha256)[:SIGNATURE_BYTES]
