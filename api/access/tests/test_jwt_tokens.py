"""JSON Web Tokens: etcd's claims, signed in one way only, for a fixed time."""

from pathlib import Path
from typing import Any

import jwt
import pytest
from access_setup import Setup, refused, run
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from metastore.api.access.authenticator import INVALID_TOKEN
from metastore.api.access.jwt_tokens import TokenSpecInvalid, read_spec
from metastore.api.calls import Caller


def keys_of(method: str, folder: Path) -> str:
    """The spec; its files are in the folder."""
    if method.startswith("HS"):
        (folder / "key").write_bytes(b"a shared secret of at least 32 bytes")
        return f"jwt,priv-key={folder}/key,sign-method={method}"
    key: Any = (
        rsa.generate_private_key(65537, 2048)
        if method[:2] in ("RS", "PS")
        else ec.generate_private_key(ec.SECP256R1())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key").write_bytes(private)
    (folder / "pub").write_bytes(public)
    return f"jwt,pub-key={folder}/pub,priv-key={folder}/key,sign-method={method}"


@pytest.mark.parametrize("method", ["RS256", "PS256", "ES256", "HS256"])
def test_a_jwt_is_its_user_for_its_time_and_says_what_etcds_does(
    method: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        spec = keys_of(method, tmp_path) + ",ttl=10m"
        setup = Setup(spec)
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        told = jwt.decode(token, options={"verify_signature": False})
        assert told == {"username": "ann", "revision": 6, "exp": 1600}
        setup.now_s += 599
        assert (await setup.identity(token)).user == "ann"
        setup.now_s += 2  # using it has not prolonged its life
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_gateway_with_the_public_key_alone_takes_tokens_and_gives_none_out(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        setup = Setup(keys_of("ES256", tmp_path))
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        other = setup.another(f"jwt,pub-key={tmp_path}/pub,sign-method=ES256")
        assert (await other.identity_of(Caller(token))).user == "ann"
        answer = await refused(other.log_in("ann", "right"))
        assert answer == (2, "auth: token signing attempted with verify-only key")

    run(scenario())


def test_a_jwt_signed_in_another_way_is_none(tmp_path: Path) -> None:
    tokens = read_spec(keys_of("ES256", tmp_path))
    told = {"username": "ann", "revision": 6, "exp": 9_999_999_999}
    unsigned = jwt.encode(told, "", algorithm="none")
    assert tokens.read_or_none(unsigned, b"") is None
    public = (tmp_path / "pub").read_bytes()
    assert b"PUBLIC" in public
    forged = jwt.encode(told, "not the key, but as long as one.", algorithm="HS256")
    assert tokens.read_or_none(forged, b"") is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("complex", "expected simple or jwt"),
        ("jwt", "sign-method ''"),
        ("jwt,sign-method=MD5", "sign-method 'MD5' is none of RS256"),
        ("jwt,sign-method=RS256", "needs priv-key"),
        ("jwt,sign-method=RS256,priv-key=/no/such/file", "priv-key /no/such/file"),
        ("jwt,colour=red", "'colour=red' is none of pub-key"),
        ("jwt,sign-method=RS256,ttl=soon", "expected a duration like 10m"),
    ],
)
def test_a_spec_that_cannot_be_used_says_why(spec: str, said: str) -> None:
    with pytest.raises(TokenSpecInvalid, match=said):
        read_spec(spec)
