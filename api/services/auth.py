"""etcd's Auth service: users, roles, permissions, and tokens for who has a password.

What may be done by whom is decided where the data is, in the state machine; here passwords become
hashes, and a right password becomes a token (access/). A hash that a client made itself
(`hashedPassword`) is not looked at, as in etcd, which makes one of the password in any case.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from metastore.api.access.authenticator import Authenticator
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.transport.auth_ops import (
    PERMISSION_NOT_GIVEN,
    SECRET_BYTES,
    USER_EMPTY,
    AuthAction,
    Need,
    Permission,
    auth,
)

# etcd keeps whatever number it is given; nothing could be done with such a permission.
PERMISSION_UNKNOWN = "metastore: unknown type of permission"
_PERMISSIONS = frozenset(map(int, Permission))


class Auth:
    """`etcdserverpb.Auth`. `authenticator`: the one that the link asks who calls."""

    def __init__(self, link: NodeLink, authenticator: Authenticator) -> None:
        self._link = link
        self._authenticator = authenticator

    # The whole

    async def auth_enable(self, request: Any, caller: Caller) -> Any:
        secret = secrets.token_bytes(SECRET_BYTES)  # counts if the cluster has none
        return await self._change(rpc.AuthEnableResponse(), caller, AuthAction.ENABLE, secret)

    async def auth_disable(self, request: Any, caller: Caller) -> Any:
        return await self._change(rpc.AuthDisableResponse(), caller, AuthAction.DISABLE)

    async def auth_status(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthStatusResponse()
        reply.enabled, reply.authRevision = await self._read(reply, caller, AuthAction.STATUS)
        return reply

    async def authenticate(self, request: Any, caller: Caller) -> Any:
        """Whatever token comes with it is not looked at: the old one of a client that comes for a
        new one is over."""
        token, revision = await self._authenticator.log_in(request.name, request.password)
        reply = rpc.AuthenticateResponse(token=token)
        self._link.fill_header(reply.header, revision)
        return reply

    # Users

    async def user_add(self, request: Any, caller: Caller) -> Any:
        # First whether the caller may: a hash is dear, and nobody else shall make us work for it.
        await self._link.check(caller, Need.ADMIN)
        if not request.name:
            raise ApiError(Status.INVALID_ARGUMENT, USER_EMPTY)
        hashed = b""
        if not request.options.no_password:
            hashed = await self._authenticator.passwords.hash(request.password)
        reply = rpc.AuthUserAddResponse()
        return await self._change(reply, caller, AuthAction.USER_ADD, request.name, hashed)

    async def user_change_password(self, request: Any, caller: Caller) -> Any:
        """A user without a password stays so, as in etcd."""
        await self._link.check(caller, Need.ADMIN)
        user = await self._authenticator.credentials(request.name)
        hashed = b""
        if user.password_hash:
            hashed = await self._authenticator.passwords.hash(request.password)
        reply, action = rpc.AuthUserChangePasswordResponse(), AuthAction.USER_CHANGE_PASSWORD
        return await self._change(reply, caller, action, request.name, hashed)

    async def user_delete(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthUserDeleteResponse()
        return await self._change(reply, caller, AuthAction.USER_DELETE, request.name)

    async def user_grant_role(self, request: Any, caller: Caller) -> Any:
        reply, action = rpc.AuthUserGrantRoleResponse(), AuthAction.USER_GRANT
        return await self._change(reply, caller, action, request.user, request.role)

    async def user_revoke_role(self, request: Any, caller: Caller) -> Any:
        reply, action = rpc.AuthUserRevokeRoleResponse(), AuthAction.USER_REVOKE
        return await self._change(reply, caller, action, request.name, request.role)

    async def user_get(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthUserGetResponse()
        (roles,) = await self._read(reply, caller, AuthAction.USER_GET, request.name)
        reply.roles.extend(roles)
        return reply

    async def user_list(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthUserListResponse()
        (users,) = await self._read(reply, caller, AuthAction.USER_LIST)
        reply.users.extend(users)
        return reply

    # Roles

    async def role_add(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthRoleAddResponse()
        return await self._change(reply, caller, AuthAction.ROLE_ADD, request.name)

    async def role_delete(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthRoleDeleteResponse()
        return await self._change(reply, caller, AuthAction.ROLE_DELETE, request.role)

    async def role_grant_permission(self, request: Any, caller: Caller) -> Any:
        granted = request.perm
        if not request.HasField("perm"):
            await self._link.check(caller, Need.ADMIN)
            raise ApiError(Status.INVALID_ARGUMENT, PERMISSION_NOT_GIVEN)
        if granted.permType not in _PERMISSIONS:
            await self._link.check(caller, Need.ADMIN)
            raise ApiError(Status.INVALID_ARGUMENT, PERMISSION_UNKNOWN)
        arguments = (request.name, granted.permType, granted.key, granted.range_end)
        reply = rpc.AuthRoleGrantPermissionResponse()
        return await self._change(reply, caller, AuthAction.ROLE_GRANT, *arguments)

    async def role_revoke_permission(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthRoleRevokePermissionResponse()
        arguments = (request.role, request.key, request.range_end)
        return await self._change(reply, caller, AuthAction.ROLE_REVOKE, *arguments)

    async def role_get(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthRoleGetResponse()
        (permissions,) = await self._read(reply, caller, AuthAction.ROLE_GET, request.role)
        for kind, key, range_end in permissions:
            reply.perm.add(permType=kind, key=key, range_end=range_end)
        return reply

    async def role_list(self, request: Any, caller: Caller) -> Any:
        reply = rpc.AuthRoleListResponse()
        (roles,) = await self._read(reply, caller, AuthAction.ROLE_LIST)
        reply.roles.extend(roles)
        return reply

    async def _change(self, reply: Any, caller: Caller, action: AuthAction, *arguments: Any) -> Any:
        """The reply, with its header."""
        result = await self._link.ask(caller, auth(action, *arguments))
        self._link.fill_header(reply.header, result[1])
        return reply

    async def _read(
        self, reply: Any, caller: Caller, action: AuthAction, *arguments: str
    ) -> Sequence[Any]:
        """What comes after the revision; the reply gets its header."""
        _, revision, *found = await self._link.ask(caller, auth(action, *arguments))
        self._link.fill_header(reply.header, revision)
        return found
