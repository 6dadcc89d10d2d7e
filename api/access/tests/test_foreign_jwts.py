"""JWTs that somebody else made with the operator's keys, and keys of every shape."""

import datetime
import math
from pathlib import Path
from typing import Any

import jwt
import pytest
from access_setup import Setup, refused, run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from metastore.api.access.authenticator import INVALID_TOKEN
from metastore.api.access.jwt_tokens import TokenSpecInvalid, read_spec
from metastore.api.access.tokens import Tokens

SECRET = "a shared secret of at least 32 bytes"
FAR_S = 9_999_999_999
CLAIMS = {"username": "ann", "revision": 6, "exp": FAR_S}


def hmac_spec(folder: Path) -> str:
    (folder / "secret").write_text(SECRET)
    return f"jwt,priv-key={folder}/secret,sign-method=HS256"


def signed(**claims: Any) -> str:
    return jwt.encode(CLAIMS | claims, SECRET, "HS256")


def written(folder: Path, name: str, key: Any) -> Any:
    """The private half at `name`, the public one at `name`.pub."""
    (folder / name).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / f"{name}.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return key


@pytest.mark.parametrize(
    ("claims", "is_valid"),
    [
        ({}, True),
        ({"revision": 9.7}, True),
        ({"aud": "somebody", "iss": "x", "sub": 5, "jti": 7}, True),  # nothing to etcd
        ({"revision": 5}, False),  # from before the password
        ({"revision": "6"}, False),
        ({"revision": None}, False),
        ({"revision": True}, False),
        ({"revision": math.inf}, False),
        ({"exp": math.nan}, False),
        ({"username": None}, False),
        ({"username": "nobody"}, False),
        ({"exp": 999}, False),
        ({"exp": "never"}, False),
        ({"nbf": FAR_S}, False),
        ({"iat": FAR_S}, False),
    ],
)
def test_etcds_claims_count_and_no_others(
    claims: dict[str, Any], is_valid: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        setup = Setup(hmac_spec(tmp_path))
        await setup.add_user("ann", "right")
        token = signed(**claims)
        if is_valid:
            assert (await setup.identity(token)).user == "ann"
        else:
            assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_token_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    tokens = read_spec(hmac_spec(tmp_path))
    assert tokens.read_or_none(signed(username="n" * 4000), b"") is not None
    assert tokens.read_or_none(signed(username="n" * 8000), b"") is None


def test_other_changes_than_of_the_password_leave_a_jwt_valid(tmp_path: Path) -> None:
    async def scenario() -> None:
        setup = Setup(hmac_spec(tmp_path))
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        await setup.add_user("ben", "right")
        await setup.authenticator.refresh()
        identity = await setup.identity(token)
        assert (identity.user, identity.auth_revision) == ("ann", 7)
        await setup.add_user("ann", "right")
        await setup.authenticator.refresh()
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_jwt_passes_while_auth_is_off_and_what_is_none_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        setup = Setup(hmac_spec(tmp_path))
        await setup.add_user("ann", "right")
        setup.cluster.is_enabled = False
        assert (await setup.identity(signed())).user == "ann"
        assert await refused(setup.identity("some token")) == (16, INVALID_TOKEN)

    run(scenario())


def read_back(tokens: Tokens, key: Any, method: str) -> bool:
    return tokens.read_or_none(jwt.encode(CLAIMS, key, method), b"") is not None


def test_a_public_key_may_come_in_a_certificate(tmp_path: Path) -> None:
    key = written(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=9999))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tokens = read_spec(f"jwt,pub-key={tmp_path}/pem,sign-method=ES256")
    assert read_back(tokens, key, "ES256")


@pytest.mark.parametrize("method", ["EdDSA", "ES384"])
def test_a_private_key_has_its_public_half_with_it(method: str, tmp_path: Path) -> None:
    key: Any = ed25519.Ed25519PrivateKey.generate()
    if method == "ES384":
        key = ec.generate_private_key(ec.SECP384R1())
    written(tmp_path, "key", key)
    tokens = read_spec(f"jwt,priv-key={tmp_path}/key,sign-method={method}")
    assert read_back(tokens, key, method)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sign-method=ES256,priv-key={}/one,pub-key={}/two.pub", "not the public half"),
        ("sign-method=ES384,priv-key={}/one", "another curve than 256"),
        ("sign-method=ES384,pub-key={}/one.pub", "another curve than 256"),
        ("sign-method=RS256,priv-key={}/one", "priv-key holds no private RSA key"),
        ("sign-method=EdDSA,pub-key={}/one.pub", "pub-key holds no public Ed25519 key"),
        ("sign-method=ES256,pub-key={}/one", "pub-key holds no public EC key"),
        ("sign-method=HS256,pub-key={}/one", "HS methods need priv-key"),
        ("sign-method=HS256,priv-key={}/one", "does not fit HS256"),
        ("sign-method=ES256,sign-method=ES256,priv-key={}/one", "given twice"),
        ("sign-method=ES256,priv-key={}/one,ttl=0s", "expected a duration"),
        ("sign-method=ES256,priv-key={}/one,ttl=-5m", "expected a duration"),
        ("sign-method=ES256,priv-key={}/one,ttl=", "expected a duration"),
        ("sign-method=none,priv-key={}/one", "is none of RS256"),
    ],
)
def test_keys_that_do_not_fit_are_told_at_the_start(
    options: str, said: str, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        written(tmp_path, name, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(TokenSpecInvalid, match=said):
        read_spec("jwt," + options.replace("{}", str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "ttl_s"), [("10m", 600.0), ("1h30m", 5400.0), ("1.5h", 5400.0), ("500ms", 0.5)]
)
def test_a_ttl_is_written_as_gos_durations(text: str, ttl_s: float, tmp_path: Path) -> None:
    assert read_spec(f"{hmac_spec(tmp_path)},ttl={text}").ttl_s == ttl_s


def test_simple_is_meant_where_nothing_is_said() -> None:
    assert read_spec("").slides
    with pytest.raises(TokenSpecInvalid):
        read_spec("simple,ttl=5m")
