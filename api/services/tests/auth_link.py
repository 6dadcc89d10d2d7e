"""A link that speaks in its callers' names, as NodeLink does, with the state machine behind it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from engine_link import PLAY_S, EngineLink

from metastore.api.access.authenticator import Authenticator
from metastore.api.access.passwords import Passwords
from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.auth import Auth
from metastore.transport.schema import Operation

CHEAP = 4  # bcrypt's least cost


class AuthLink(EngineLink):
    ask = NodeLink.ask
    ask_as_gateway = NodeLink.ask_as_gateway
    check = NodeLink.check

    def __init__(self) -> None:
        super().__init__()
        self.access: Any = None
        self.performed: list[Operation] = []

    async def _perform(self, operations: Sequence[Operation], *_: Any) -> Sequence[Sequence[Any]]:
        self.performed.append(operations[-1])
        return self.apply(*operations)


class Gateway:
    """One gateway; `other` has its own memory of the same store."""

    def __init__(self, link: AuthLink) -> None:
        self.link = link
        self.access = Authenticator(link, passwords=Passwords(CHEAP))
        link.access = self.access
        self.service = Auth(link, self.access)

    def other(self) -> "Gateway":
        link = AuthLink()
        link.state = self.link.state
        link._index = 1_000_000
        return Gateway(link)

    async def log_in(self, name: str, password: str) -> Caller:
        request = rpc.AuthenticateRequest(name=name, password=password)
        return Caller((await self.service.authenticate(request, Caller())).token)

    async def with_root(self) -> Caller:
        """Auth is on; root's password is "r", and ann, with "a", may do nothing."""
        nobody, service = Caller(), self.service
        for name in ("root", "ann"):
            await service.user_add(rpc.AuthUserAddRequest(name=name, password=name[0]), nobody)
        grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
        await service.user_grant_role(grant, nobody)
        await service.auth_enable(rpc.AuthEnableRequest(), nobody)
        return await self.log_in("root", "r")


def play(body: Callable[[Gateway], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        gateway = Gateway(AuthLink())
        async with asyncio.timeout(PLAY_S):
            await body(gateway)
        gateway.access.passwords.close()

    asyncio.run(main())


async def outcome(call: Coroutine[Any, Any, Any]) -> Any:
    """Its reply, or (code, text)."""
    try:
        return await call
    except ApiError as error:
        return (int(error.code), error.message)
