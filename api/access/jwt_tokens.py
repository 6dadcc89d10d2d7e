"""JSON Web Tokens, as `--auth-token jwt,...` of etcd asks for them.

Beside tokens.py. Whoever has the public key can check one without asking the cluster; they live
for a fixed time. Reads its key files once, when the gateway starts.
"""

import re
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization

from metastore.api.access.tokens import TOKEN_CHARACTERS_MAX, Claims, SimpleTokens, Tokens

METHODS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA"),
)
TTL_S = 300.0  # unless told, as in etcd
_OPTIONS = ("pub-key", "priv-key", "sign-method", "ttl")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class TokenSpecInvalid(ValueError):
    """--auth-token cannot be used; says what is wrong."""


def read_spec(spec: str) -> Tokens:
    """Of etcd's `--auth-token`: "simple", or "jwt,key=value,…". Raises TokenSpecInvalid."""
    kind, *parts = spec.split(",")
    if kind == "simple" and not parts:
        return SimpleTokens()
    if kind != "jwt":
        raise TokenSpecInvalid(f"--auth-token {spec!r}: expected simple or jwt,…")
    options: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise TokenSpecInvalid(f"--auth-token: {part!r} is none of {known}, each NAME=VALUE")
        options[name] = value
    return JwtTokens(options)


class VerifyOnly(Exception):
    """No token can be given out here; etcd's text."""


class JwtTokens:
    slides = False

    def __init__(self, options: dict[str, str]) -> None:
        """Raises TokenSpecInvalid."""
        self._method = options.get("sign-method", "")
        if self._method not in METHODS:
            known = ", ".join(METHODS)
            raise TokenSpecInvalid(f"--auth-token: sign-method {self._method!r} is none of {known}")
        self.ttl_s = _to_seconds(options["ttl"]) if "ttl" in options else TTL_S
        private = _read(options, "priv-key")
        public = _read(options, "pub-key")
        self._signing = private
        if self._method.startswith("HS"):
            self._checking = private
        else:
            self._checking = public or _public_of(private)
        if not self._checking:
            raise TokenSpecInvalid("--auth-token: jwt needs priv-key, or at least pub-key")
        self._try_keys()

    def _try_keys(self) -> None:
        """At the start, not at the first log-in: they are keys, of this method, and a pair."""
        try:
            if self._signing:
                tried = jwt.encode({}, self._signing, self._method)
                jwt.decode(tried, self._checking, algorithms=[self._method])
            else:
                jwt.get_algorithm_by_name(self._method).prepare_key(self._checking)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenSpecInvalid(
                f"--auth-token: the keys do not fit {self._method} or each other: {error}"
            ) from None

    def issue(self, claims: Claims, secret: bytes) -> str:
        """Raises VerifyOnly on a gateway that has only the public key."""
        if not self._signing:
            raise VerifyOnly("auth: token signing attempted with verify-only key")
        told = {
            "username": claims.user,
            "revision": claims.password_revision,
            "exp": claims.issued_s + self.ttl_s,
        }
        return jwt.encode(told, self._signing, self._method)

    def read_or_none(self, token: str, secret: bytes, now_s: float) -> Claims | None:
        if len(token) > TOKEN_CHARACTERS_MAX:
            return None
        try:
            told = jwt.decode(
                token, self._checking, algorithms=[self._method], options={"verify_exp": False}
            )
            claims = Claims(told["username"], told["revision"], int(told["exp"] - self.ttl_s))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return None
        is_shaped = type(claims.user) is str and type(claims.password_revision) is int
        return claims if is_shaped and now_s < told["exp"] else None


def _read(options: dict[str, str], name: str) -> bytes:
    """b"": not given."""
    if not options.get(name):
        return b""
    try:
        return Path(options[name]).read_bytes()
    except OSError as error:
        raise TokenSpecInvalid(f"--auth-token: {name} {options[name]}: {error.strerror}") from None


def _public_of(private: bytes) -> bytes:
    if not private:
        return b""
    try:
        key = serialization.load_pem_private_key(private, None)
    except (ValueError, TypeError) as error:
        raise TokenSpecInvalid(f"--auth-token: priv-key is no private key: {error}") from None
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _to_seconds(text: str) -> float:
    """Go's way of writing durations: 10m, 1h30m."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise TokenSpecInvalid(f"--auth-token: ttl {text!r}: expected a duration like 10m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
