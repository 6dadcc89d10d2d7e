"""Who a caller is: a token's user, a certificate's, or nobody that said a name.

Implements link.Access. What is known of users is only remembered here, never decided: the state
machine refuses a request that names an auth revision that is over, and whoever is then looked up
anew. So nothing here has to be fresh to be safe; what looks wrong in what is remembered is looked
up once more before it is refused.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from metastore.api.access.jwt_tokens import VerifyOnly, read_spec
from metastore.api.access.passwords import Passwords
from metastore.api.access.tokens import Claims
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import Identity, NodeLink
from metastore.transport.auth_ops import AUTH_NOT_ENABLED, SECRET_BYTES, AuthAction, auth

INVALID_TOKEN = "etcdserver: invalid auth token"
AUTH_FAILED = "etcdserver: authentication failed, invalid user ID or password"
REMEMBERED_MAX = 10_000  # users, and tokens in use


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one user, as of an auth revision. password_revision 0: there is no such user."""

    is_enabled: bool
    auth_revision: int
    password_hash: bytes
    password_revision: int
    token_secret: bytes


class Authenticator:
    """For one event loop."""

    def __init__(
        self,
        link: NodeLink,
        spec: str,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`spec`: etcd's --auth-token. Raises TokenSpecInvalid."""
        self.passwords = passwords or Passwords()
        self._link = link
        self._tokens = read_spec(spec)
        self._clock = clock
        self._nobody = Identity("", 0)
        self._is_known = self._is_enabled = False
        self._secret = b""
        self._users: OrderedDict[str, Credentials] = OrderedDict()
        self._used: OrderedDict[str, float] = OrderedDict()  # token: when last
        self._asking: dict[str, asyncio.Future[Credentials]] = {}

    async def identity_of(self, caller: Caller) -> Identity:
        """Raises ApiError for a token that is not valid."""
        if not self._is_known:
            await self._look_up("")
        if caller.token:
            return await self._of_token(caller.token)
        if self._is_enabled and caller.certificate_name:
            return Identity(caller.certificate_name, self._nobody.auth_revision)
        return self._nobody

    async def refresh(self) -> None:
        """Users or roles have changed: everything is looked up anew."""
        self._is_known = False
        self._users.clear()

    async def log_in(self, name: str, password: str) -> str:
        """A token. Raises ApiError."""
        found = await self._look_up(name)
        if not found.is_enabled:
            raise ApiError(Status.FAILED_PRECONDITION, AUTH_NOT_ENABLED)
        if not await self.passwords.is_right(password, found.password_hash):
            raise ApiError(Status.INVALID_ARGUMENT, AUTH_FAILED)
        claims = Claims(name, found.password_revision, int(self._clock()))
        try:
            token = self._tokens.issue(claims, found.token_secret)
        except VerifyOnly as error:
            raise ApiError(Status.UNKNOWN, str(error)) from None
        self._note_use(token)
        return token

    async def _of_token(self, token: str) -> Identity:
        found = self._checked(token)
        if found is None:
            # What is remembered may be old, for one that was just given out or just taken away.
            await self.refresh()
            await self._look_up("")
            claims = self._read(token)
            if claims is not None and self._is_enabled:
                await self._look_up(claims.user)
            found = self._checked(token)
        if found is None:
            raise ApiError(Status.UNAUTHENTICATED, INVALID_TOKEN)
        self._note_use(token)
        return found

    def _checked(self, token: str) -> Identity | None:
        """By what is remembered; None: not valid, or its user is not remembered."""
        claims = self._read(token) if self._is_enabled else None
        if claims is None or not self._lives(token, claims):
            return None
        user = self._users.get(claims.user)
        # A JWT says the auth revision it was issued at, which is not below that of the password.
        if user is None or not user.password_revision:
            return None
        if claims.password_revision < user.password_revision:
            return None
        return Identity(claims.user, user.auth_revision)

    def _read(self, token: str) -> Claims | None:
        return self._tokens.read_or_none(token, self._secret, self._clock())

    def _lives(self, token: str, claims: Claims) -> bool:
        last_s = self._used.get(token, float(claims.issued_s)) if self._tokens.slides else None
        return last_s is None or self._clock() < last_s + self._tokens.ttl_s

    def _note_use(self, token: str) -> None:
        if self._tokens.slides:
            self._used[token] = self._clock()
            self._used.move_to_end(token)
            while len(self._used) > REMEMBERED_MAX:
                self._used.popitem(last=False)

    async def _look_up(self, user: str) -> Credentials:
        """Asks the cluster; those who want the same at the same time share the answer."""
        asking = self._asking.get(user)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(user))
            self._asking[user] = asking
            asking.add_done_callback(lambda _: self._asking.pop(user, None))
        # One caller's cancellation is not the others'.
        return await asyncio.shield(asking)

    async def _ask(self, user: str) -> Credentials:
        found = await self._credentials(user)
        if found.is_enabled and not found.token_secret:
            # As after a restore from an etcd's snapshot, which has no such thing; the first counts.
            enable = auth(AuthAction.ENABLE, secrets.token_bytes(SECRET_BYTES))
            await self._link.ask_as_gateway(enable)
            found = await self._credentials(user)
        if found.auth_revision >= self._nobody.auth_revision:
            if found.auth_revision != self._nobody.auth_revision:
                self._users.clear()
            self._nobody = Identity("", found.auth_revision)
            self._is_enabled, self._is_known = found.is_enabled, True
            self._secret = found.token_secret
            if user:
                self._users[user] = found
                while len(self._users) > REMEMBERED_MAX:
                    self._users.popitem(last=False)
        return found

    async def _credentials(self, user: str) -> Credentials:
        _, _, *fields = await self._link.ask_as_gateway(auth(AuthAction.CREDENTIALS, user))
        return Credentials(*fields)
