"""What was last heard of auth and its users, and the questions that hear more.

Between tokens.py and authenticator.py. Never the last word: what is known here may be over, and the
state machine refuses who comes with an auth revision that is. Then it is asked again, by many
callers at once, in one question.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from metastore.api.link import Identity, NodeLink
from metastore.transport.auth_ops import AuthAction, auth

USERS_MAX = 10_000


class AuthState(NamedTuple):
    is_enabled: bool
    auth_revision: int
    token_secret: bytes


class Credentials(NamedTuple):
    """One answer. `password_revision` 0: there is no such user; `password_hash` b"": no password.
    `revision`: of the store."""

    state: AuthState
    revision: int
    password_hash: bytes
    password_revision: int


class KnownUser(NamedTuple):
    identity: Identity
    password_revision: int


class KnownUsers:
    """For one event loop. `state` None: nothing was heard yet; `nobody`: who says no name, as of
    the state."""

    def __init__(self, link: NodeLink) -> None:
        self.state: AuthState | None = None
        self.nobody = Identity("", 0)
        self._link = link
        self._users: OrderedDict[str, KnownUser] = OrderedDict()  # as of the state
        self._asked = 0  # questions so far
        self._heard = 0  # the newest of them whose answer counts
        self._waiting: dict[str, asyncio.Task[Credentials]] = {}  # not asked yet
        self._under_way: dict[str, asyncio.Task[Credentials]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def find(self, name: str) -> KnownUser | None:
        return self._users.get(name)

    async def ask(self, name: str = "") -> Credentials:
        """The answer to a question that was not asked before this call: whoever was refused needs
        a newer answer than the one that may be on its way. Raises ApiError."""
        task = self._waiting.get(name)
        if task is None:
            task = asyncio.create_task(self._ask(name, self._under_way.get(name)))
            self._waiting[name] = task
        return await asyncio.shield(task)  # the end of one caller is not the others'

    async def _ask(self, name: str, before: "asyncio.Task[Credentials] | None") -> Credentials:
        if before is not None:
            await asyncio.wait((before,))
        self._under_way[name] = self._waiting.pop(name)
        self._asked += 1
        number = self._asked
        try:
            result = await self._link.ask_as_gateway(auth(AuthAction.CREDENTIALS, name))
        finally:
            del self._under_way[name]
        _, revision, is_enabled, auth_revision, password_hash, password_revision, secret = result
        state = AuthState(is_enabled, auth_revision, secret)
        found = Credentials(state, revision, password_hash, password_revision)
        self._hear(name, found, number)
        return found

    def _hear(self, name: str, found: Credentials, number: int) -> None:
        state = found.state
        if number > self._heard:
            self._heard = number
            if state != self.state:
                self.state = state
                self.nobody = Identity("", state.auth_revision)
                self._users.clear()
        # Else a newer question was answered first; that one counts.
        if found.password_revision and state == self.state:
            identity = Identity(name, state.auth_revision)
            self._users[name] = KnownUser(identity, found.password_revision)
            if len(self._users) > USERS_MAX:
                self._users.popitem(last=False)
