"""Tokens that say whose call it is: what Authenticate gives out and every later call brings back.

First of access/. A simple token is a sealed note: the user, which password it was got with, and
when, signed with the cluster's secret; any gateway of the cluster can read it, and nothing has to
be kept. jwt_tokens.py has the other kind. Neither says what a user may do, nor whether the user is
still there.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import NamedTuple, Protocol

import msgpack

TTL_S = 300.0  # etcd's, of both kinds
SIGNATURE_BYTES = 32
RANDOM_BYTES = 8
TOKEN_CHARACTERS_MAX = 8192  # more than the longest name needs
# So that nothing else that may ever be signed with this secret is a token.
_PURPOSE = b"metastore simple token 1\0"


class Claims(NamedTuple):
    """What a token says: it is its user's if the password has this revision (`is_exact`), or at
    most this one. Over at `ends_s`, seconds since 1970, unless it was used since."""

    user: str
    revision: int
    is_exact: bool
    ends_s: float

    def is_of(self, password_revision: int) -> bool:
        """0: there is no such user."""
        if self.is_exact:
            return 0 < password_revision == self.revision
        return 0 < password_revision <= self.revision


class Grounds(NamedTuple):
    """What a token is made of."""

    user: str
    password_revision: int
    auth_revision: int
    secret: bytes


class Tokens(Protocol):
    """`secret`: the cluster's; b"" signs nothing, and nothing is signed with it."""

    ttl_s: float
    # Whether each use is a new beginning of ttl_s.
    slides: bool
    needs_secret: bool
    # What is read may stand for a call also while auth is off, as in etcd.
    outlives_auth: bool

    def issue(self, grounds: Grounds, now_s: float) -> str:
        """Raises ApiError."""
        ...

    def read_or_none(self, token: str, secret: bytes) -> Claims | None:
        """None: not one of ours, or changed."""
        ...


class SimpleTokens:
    """Opaque to clients; lives as long as it is used, as etcd's do."""

    ttl_s = TTL_S
    slides = True
    needs_secret = True
    outlives_auth = False

    def issue(self, grounds: Grounds, now_s: float) -> str:
        parts = (grounds.user, grounds.password_revision, int(now_s))
        data: bytes = msgpack.packb((*parts, secrets.token_bytes(RANDOM_BYTES)))
        return _text_of(data + _signature(data, grounds.secret))

    def read_or_none(self, token: str, secret: bytes) -> Claims | None:
        if not secret or len(token) > TOKEN_CHARACTERS_MAX:
            return None
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_")
        except (binascii.Error, ValueError):
            return None
        data, signature = sealed[:-SIGNATURE_BYTES], sealed[-SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, _signature(data, secret)):
            return None
        # base64 has several texts for the same bytes; one token is one text.
        if _text_of(sealed) != token:
            return None
        user, password_revision, issued_s, _ = msgpack.unpackb(data)  # signed: made above
        return Claims(user, password_revision, True, issued_s + self.ttl_s)


def _text_of(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _signature(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + data, hashlib.sha256)
