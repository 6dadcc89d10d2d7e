"""JSON Web Tokens, as etcd's `--auth-token jwt,...` asks for them.

Beside tokens.py. Whoever has the keys can make one, and live with it for a fixed time. The claims
are etcd's: `username`, `revision` (the auth revision it was issued at), `exp`. Key files are read
once, when the gateway starts.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from metastore.api.access.tokens import (
    TOKEN_CHARACTERS_MAX,
    TTL_S,
    Claims,
    Grounds,
    SimpleTokens,
    Tokens,
)
from metastore.api.calls import ApiError, Status

VERIFY_ONLY = "auth: token signing attempted with verify-only key"  # etcd's

_HMAC, _RSA, _EC, _ED = "HMAC", "RSA", "EC", "Ed25519"
_FAMILIES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), _RSA),
    **dict.fromkeys(("HS256", "HS384", "HS512"), _HMAC),
    **dict.fromkeys(("ES256", "ES384", "ES512"), _EC),
    "EdDSA": _ED,
}
_CURVE_BITS = {"ES256": 256, "ES384": 384, "ES512": 521}
_PRIVATE_CLASSES: Mapping[str, Any] = {
    _RSA: rsa.RSAPrivateKey,
    _EC: ec.EllipticCurvePrivateKey,
    _ED: ed25519.Ed25519PrivateKey,
}
_PUBLIC_CLASSES: Mapping[str, Any] = {
    _RSA: rsa.RSAPublicKey,
    _EC: ec.EllipticCurvePublicKey,
    _ED: ed25519.Ed25519PublicKey,
}
_OPTIONS = ("pub-key", "priv-key", "sign-method", "ttl")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
# The signature is checked always, `iat` and `nbf` if they are there: as etcd does. Of the others it
# knows nothing; `exp` is checked here.
_CHECKS: Any = {f"verify_{name}": False for name in ("exp", "aud", "iss", "sub", "jti")}


class TokenSpecInvalid(ValueError):
    """--auth-token cannot be used; says what is wrong."""


def read_spec(spec: str) -> Tokens:
    """Of etcd's `--auth-token`: "simple", or "jwt,key=value,…". Raises TokenSpecInvalid."""
    kind, *parts = spec.split(",")
    if kind in ("simple", "") and not parts:
        return SimpleTokens()
    if kind != "jwt":
        raise TokenSpecInvalid(f"--auth-token {spec!r}: expected simple or jwt,NAME=VALUE,…")
    options: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise TokenSpecInvalid(f"--auth-token: {part!r} is none of {known}, each NAME=VALUE")
        if name in options:
            raise TokenSpecInvalid(f"--auth-token: {name} is given twice")
        options[name] = value
    return JwtTokens(options)


class JwtTokens:
    """Readable for everybody who sees one; kept by nobody, so it cannot be taken back before its
    time by anything but another password of its user."""

    slides = False
    needs_secret = False
    outlives_auth = True

    def __init__(self, options: Mapping[str, str]) -> None:
        """Raises TokenSpecInvalid."""
        self._method = options.get("sign-method", "")
        family = _FAMILIES.get(self._method)
        if family is None:
            known = ", ".join(_FAMILIES)
            raise TokenSpecInvalid(f"--auth-token: sign-method {self._method!r} is none of {known}")
        self.ttl_s = _to_seconds(options["ttl"]) if "ttl" in options else TTL_S
        keys = _secret_of(options) if family == _HMAC else _keys_of(options, family)
        self._signing, self._checking = keys
        self._try_out()

    def issue(self, grounds: Grounds, now_s: float) -> str:
        """Raises ApiError on a gateway that has only the public key."""
        if self._signing is None:
            raise ApiError(Status.UNKNOWN, VERIFY_ONLY)
        told = {
            "username": grounds.user,
            "revision": grounds.auth_revision,
            "exp": int(now_s + self.ttl_s),
        }
        return jwt.encode(told, self._signing, self._method)

    def read_or_none(self, token: str, secret: bytes) -> Claims | None:
        if len(token) > TOKEN_CHARACTERS_MAX:
            return None
        try:
            told = jwt.decode(token, self._checking, algorithms=[self._method], options=_CHECKS)
        except (jwt.PyJWTError, ValueError):
            return None
        user: Any = told.get("username")
        revision: Any = told.get("revision")
        ends_s: Any = told.get("exp", math.inf)
        if type(user) is not str or type(revision) not in (int, float):
            return None
        if type(ends_s) not in (int, float) or math.isnan(ends_s) or not math.isfinite(revision):
            return None
        return Claims(user, int(revision), False, ends_s)

    def _try_out(self) -> None:
        """Raises TokenSpecInvalid for keys that do not fit the method or each other."""
        if self._method in _CURVE_BITS and self._checking.key_size != _CURVE_BITS[self._method]:
            bits = self._checking.key_size
            raise TokenSpecInvalid(f"--auth-token: {self._method} needs another curve than {bits}")
        if self._signing is None:
            return
        try:
            token = self.issue(Grounds("", 0, 0, b""), 0.0)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            text = f"--auth-token: priv-key does not fit {self._method}: {error}"
            raise TokenSpecInvalid(text) from None
        if self.read_or_none(token, b"") is None:
            raise TokenSpecInvalid("--auth-token: pub-key is not the public half of priv-key")


def _secret_of(options: Mapping[str, str]) -> tuple[Any, Any]:
    """As in etcd, HMAC's one key is the private one."""
    secret = _read(options, "priv-key")
    if not secret:
        raise TokenSpecInvalid("--auth-token: HS methods need priv-key, a file with the secret")
    return secret, secret


def _keys_of(options: Mapping[str, str], family: str) -> tuple[Any, Any]:
    """(private or None, public)."""
    private: Any = None
    public: Any = None
    if data := _read(options, "priv-key"):
        private = _loaded(data, "priv-key", family)
    if data := _read(options, "pub-key"):
        public = _loaded(data, "pub-key", family)
    if private is None and public is None:
        raise TokenSpecInvalid("--auth-token: jwt needs priv-key, or at least pub-key")
    return private, private.public_key() if public is None else public


def _loaded(data: bytes, name: str, family: str) -> Any:
    """From PEM; a public key may also come in a certificate."""
    key: Any = None
    try:
        if name == "priv-key":
            key = serialization.load_pem_private_key(data, None)
        elif b"BEGIN CERTIFICATE" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError):
        pass  # also one with a password: nobody could be asked for it
    classes = _PRIVATE_CLASSES if name == "priv-key" else _PUBLIC_CLASSES
    if not isinstance(key, classes[family]):
        half = "private" if name == "priv-key" else "public"
        raise TokenSpecInvalid(f"--auth-token: {name} holds no {half} {family} key as PEM")
    return key


def _read(options: Mapping[str, str], name: str) -> bytes:
    """b"": not given."""
    if not options.get(name):
        return b""
    try:
        return Path(options[name]).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TokenSpecInvalid(f"--auth-token: {name} {options[name]}: {reason}") from None


def _to_seconds(text: str) -> float:
    """Go's way of writing durations: 10m, 1h30m."""
    parts = _DURATION.findall(text)
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or total_s <= 0:
        raise TokenSpecInvalid(f"--auth-token: ttl {text!r}: expected a duration like 10m")
    return total_s
