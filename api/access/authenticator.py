"""Who a caller is: a token's user, a certificate's, or nobody that said a name.

Implements link.Access. What is known of users is only remembered here, never decided: the state
machine refuses a request that names an auth revision that is over, and whoever is then looked up
anew. So nothing here has to be fresh to be safe; what looks wrong by what is remembered is looked
up once more before it is refused.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from metastore.api.access.jwt_tokens import read_spec
from metastore.api.access.known_users import AuthState, Credentials, KnownUsers
from metastore.api.access.passwords import Passwords
from metastore.api.access.tokens import Claims, Grounds
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import Identity, NodeLink
from metastore.transport.auth_ops import AUTH_NOT_ENABLED, SECRET_BYTES, AuthAction, auth

INVALID_TOKEN = "etcdserver: invalid auth token"
AUTH_FAILED = "etcdserver: authentication failed, invalid user ID or password"
# As etcd says it, without its prefix and code.
NO_PASSWORD = "auth: authentication failed, password was given for no password user"
NO_SECRET = "metastore: the cluster has no secret to sign tokens with"
TOKENS_MAX = 20_000  # in use at once; over it, those that were not used for longest are read anew


class LogIn(NamedTuple):
    """`revision`: of the store."""

    token: str
    revision: int


@dataclass(slots=True)
class _Bearer:
    """Of a token that was read before."""

    claims: Claims
    ends_s: float  # on the monotonic clock


class Authenticator:
    """For one event loop. `clock` tells seconds since 1970, `timer` seconds since whenever."""

    def __init__(
        self,
        link: NodeLink,
        spec: str = "simple",
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`spec`: etcd's --auth-token. Raises TokenSpecInvalid."""
        self.passwords = passwords or Passwords()
        self._tokens = read_spec(spec)
        self._link = link
        self._clock = clock
        self._timer = timer
        self._known = KnownUsers(link)
        self._bearers: OrderedDict[str, _Bearer] = OrderedDict()  # the one used last is last
        self._read_with = b""  # the secret that they were read with

    async def identity_of(self, caller: Caller) -> Identity:
        """Raises ApiError for a token that is not valid."""
        token = caller.token
        if token:
            return self._remembered_or_none(token) or await self._looked_up(token)
        if self._known.state is None:
            await self._known.ask()
        name = caller.certificate_name
        if name:
            return Identity(name, self._known.nobody.auth_revision)
        return self._known.nobody

    async def refresh(self) -> None:
        """Users or roles have changed: what is known afterwards is newer than this call."""
        await self._known.ask()

    async def credentials(self, name: str) -> Credentials:
        """Asked of the cluster now. Raises ApiError."""
        return await self._known.ask(name)

    async def log_in(self, name: str, password: str) -> LogIn:
        """A token for who has the right password. Raises ApiError."""
        found = await self._known.ask(name)
        if not found.state.is_enabled:
            raise ApiError(Status.FAILED_PRECONDITION, AUTH_NOT_ENABLED)
        # Also for nobody: else the time would tell who there is.
        is_right = await self.passwords.is_right(password, found.password_hash)
        if found.password_revision and not found.password_hash:
            raise ApiError(Status.UNKNOWN, NO_PASSWORD)
        if not is_right:
            raise ApiError(Status.INVALID_ARGUMENT, AUTH_FAILED)
        secret = found.state.token_secret
        if self._tokens.needs_secret and not secret:
            secret = await self._make_secret()
        grounds = Grounds(name, found.password_revision, found.state.auth_revision, secret)
        return LogIn(self._tokens.issue(grounds, self._clock()), found.revision)

    async def _make_secret(self) -> bytes:
        """For a cluster that began with users and roles of a real etcd."""
        secret = secrets.token_bytes(SECRET_BYTES)
        await self._link.ask_as_gateway(auth(AuthAction.ENABLE, secret))
        state = (await self._known.ask()).state
        if not state.token_secret:
            raise ApiError(Status.UNKNOWN, NO_SECRET)
        return state.token_secret

    async def _looked_up(self, token: str) -> Identity:
        """What is remembered may be too old for a token that was just given out, or taken away."""
        await self._known.ask()
        identity = self._remembered_or_none(token)
        if identity is None:
            bearer = self._bearers.get(token)
            if bearer is not None:
                await self._known.ask(bearer.claims.user)
                identity = self._remembered_or_none(token)
        if identity is None:
            self._bearers.pop(token, None)
            raise ApiError(Status.UNAUTHENTICATED, INVALID_TOKEN)
        return identity

    def _remembered_or_none(self, token: str) -> Identity | None:
        """None: not valid by what is remembered, which may be too little. The hot path."""
        state = self._known.state
        if state is None or not (state.is_enabled or self._tokens.outlives_auth):
            return None
        bearer = self._bearer_or_none(token, state)
        if bearer is None:
            return None
        now_s = self._timer()
        if now_s >= bearer.ends_s:
            del self._bearers[token]
            return None
        user = self._known.find(bearer.claims.user)
        if user is None or not bearer.claims.is_of(user.password_revision):
            return None
        self._bearers.move_to_end(token)
        if self._tokens.slides:
            bearer.ends_s = now_s + self._tokens.ttl_s
        return user.identity

    def _bearer_or_none(self, token: str, state: AuthState) -> _Bearer | None:
        if state.token_secret != self._read_with:
            self._bearers.clear()
            self._read_with = state.token_secret
        bearer = self._bearers.get(token)
        if bearer is None:
            claims = self._tokens.read_or_none(token, state.token_secret)
            if claims is None:
                return None
            # By the clock of who issued it; from then on by a timer, which nobody sets.
            left_s = claims.ends_s - self._clock()
            bearer = self._bearers[token] = _Bearer(claims, self._timer() + left_s)
            if len(self._bearers) > TOKENS_MAX:
                self._bearers.popitem(last=False)
        return bearer
