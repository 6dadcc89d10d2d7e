"""A cluster whose auth is on and that has no secret for tokens: until then none is valid."""

import asyncio
from typing import Any

import pytest

from metastore.api.access.authenticator import INVALID_TOKEN, NO_SECRET, Authenticator
from metastore.api.access.passwords import Passwords
from metastore.api.access.tokens import Grounds, SimpleTokens
from metastore.api.calls import ApiError, Caller
from metastore.transport.auth_ops import SECRET_BYTES, AuthAction

CHEAP = 4  # bcrypt's least cost


class RestoredCluster:
    """As after a restore from an etcd's snapshot: users, and nothing to sign tokens with."""

    def __init__(self, password_hash: bytes) -> None:
        self.secret = b""
        self.enabled_count = 0
        self._hash = password_hash

    async def ask_as_gateway(self, operation: Any, **_: Any) -> Any:
        if operation[1] == AuthAction.ENABLE:
            self.enabled_count += 1
            self.secret = self.secret or operation[2]
            return (0, 9)
        known = (self._hash, 5) if operation[2] == "ann" else (b"", 0)
        return (0, 9, True, 5, *known, self.secret)


def test_without_a_secret_nobody_gets_a_token() -> None:
    class Deaf(RestoredCluster):
        async def ask_as_gateway(self, operation: Any, **more: Any) -> Any:
            answer = await super().ask_as_gateway(operation, **more)
            self.secret = b""
            return answer

    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        cluster: Any = Deaf(await passwords.hash("right"))
        with pytest.raises(ApiError) as caught:
            await Authenticator(cluster, passwords=passwords).log_in("ann", "right")
        assert caught.value.message == NO_SECRET
        passwords.close()

    asyncio.run(scenario())


def test_a_restored_cluster_gets_a_secret_and_tokens_signed_with_none_are_refused() -> None:
    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        cluster: Any = RestoredCluster(await passwords.hash("right"))
        gateway = Authenticator(cluster, "simple", passwords=passwords, clock=lambda: 1000.0)
        forged = SimpleTokens().issue(Grounds("ann", 5, 5, b""), 1000.0)
        with pytest.raises(ApiError) as caught:
            await gateway.identity_of(Caller(forged))
        assert caught.value.message == INVALID_TOKEN
        with pytest.raises(ApiError) as caught:
            await gateway.log_in("ann", "wrong")
        assert cluster.secret == b""
        token = (await gateway.log_in("ann", "right")).token
        assert len(cluster.secret) == SECRET_BYTES
        other = Authenticator(cluster, "simple", passwords=passwords, clock=lambda: 1000.0)
        assert (await other.identity_of(Caller(token))).user == "ann"
        assert cluster.enabled_count == 1
        passwords.close()

    asyncio.run(scenario())
