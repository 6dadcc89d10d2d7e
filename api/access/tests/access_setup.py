"""A cluster that answers CREDENTIALS as the state machine would, and gateways that ask it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from metastore.api.access.authenticator import Authenticator
from metastore.api.access.passwords import Passwords
from metastore.api.calls import ApiError, Caller
from metastore.api.link import Identity

SECRET = b"s" * 32
CHEAP = 4  # bcrypt's least cost


class FakeCluster:
    """Answers CREDENTIALS as the state machine would."""

    def __init__(self) -> None:
        self.is_enabled = True
        self.revision = 5
        self.users: dict[str, tuple[bytes, int]] = {}
        self.secret = SECRET
        self.questions: list[str] = []
        self.gate: asyncio.Event | None = None  # answers leave when it is set

    async def ask_as_gateway(self, operation: Any, **_: Any) -> Any:
        _, _, user = operation
        self.questions.append(user)
        known = self.users.get(user, (b"", 0))
        answer = (0, 9, self.is_enabled, self.revision, *known, self.secret)
        await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        return answer


class Setup:
    def __init__(self, spec: str = "simple") -> None:
        self.cluster = FakeCluster()
        self.now_s = 1000.0
        self.passwords = Passwords(CHEAP)
        self.authenticator = self.another(spec)

    def another(self, spec: str = "simple") -> Authenticator:
        """Of another gateway of the same cluster."""
        cluster: Any = self.cluster
        return Authenticator(
            cluster,
            spec,
            passwords=self.passwords,
            clock=lambda: self.now_s,
            timer=lambda: self.now_s,
        )

    async def add_user(self, name: str, password: str) -> None:
        self.cluster.revision += 1
        hashed = await self.passwords.hash(password)
        self.cluster.users[name] = (hashed, self.cluster.revision)

    async def log_in(self, name: str, password: str) -> str:
        return (await self.authenticator.log_in(name, password)).token

    async def identity(self, token: str = "", certificate: str = "") -> Identity:
        return await self.authenticator.identity_of(Caller(token, certificate))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def refused(work: Coroutine[Any, Any, Any]) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        await work
    return int(caught.value.code), caught.value.message
