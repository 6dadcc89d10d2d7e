"""Auth of etcd: users, roles, permissions, and tokens for who has a password.

What may be done by whom is decided where the data is, in the state machine; here passwords become
hashes, and a right password becomes a token.
"""

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Any

from metastore.api.access.authenticator import Authenticator
from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.transport.auth_ops import SECRET_BYTES, USER_EMPTY, AuthAction, auth

BAD_HASH = "etcdserver: invalid auth management"


class Auth:
    """`authenticator` is that of the link."""

    def __init__(self, link: NodeLink, authenticator: Authenticator) -> None:
        self._link = link
        self._authenticator = authenticator

    async def auth_enable(self, request: Any, caller: Caller) -> Any:
        secret = secrets.token_bytes(SECRET_BYTES)  # counts if the cluster has none yet
        header = await self._change(caller, AuthAction.ENABLE, secret)
        return rpc.AuthEnableResponse(header=header)

    async def auth_disable(self, request: Any, caller: Caller) -> Any:
        return rpc.AuthDisableResponse(header=await self._change(caller, AuthAction.DISABLE))

    async def auth_status(self, request: Any, caller: Caller) -> Any:
        """No right is needed."""
        _, revision, is_on, auth_revision = await self._link.ask_as_gateway(auth(AuthAction.STATUS))
        header = self._link.header(revision)
        return rpc.AuthStatusResponse(header=header, enabled=is_on, authRevision=auth_revision)

    async def authenticate(self, request: Any, caller: Caller) -> Any:
        token = await self._authenticator.log_in(request.name, request.password)
        return rpc.AuthenticateResponse(header=self._link.header(), token=token)

    async def user_add(self, request: Any, caller: Caller) -> Any:
        if not request.name:
            raise ApiError(Status.INVALID_ARGUMENT, USER_EMPTY)
        hashed = b""
        if not request.options.no_password:
            hashed = await self._hash_of(request)
        header = await self._change(caller, AuthAction.USER_ADD, request.name, hashed)
        return rpc.AuthUserAddResponse(header=header)

    async def user_change_password(self, request: Any, caller: Caller) -> Any:
        hashed = await self._hash_of(request)
        action = AuthAction.USER_CHANGE_PASSWORD
        header = await self._change(caller, action, request.name, hashed)
        return rpc.AuthUserChangePasswordResponse(header=header)

    async def user_get(self, request: Any, caller: Caller) -> Any:
        header, roles = await self._read(caller, AuthAction.USER_GET, request.name)
        return rpc.AuthUserGetResponse(header=header, roles=roles)

    async def user_list(self, request: Any, caller: Caller) -> Any:
        header, users = await self._read(caller, AuthAction.USER_LIST)
        return rpc.AuthUserListResponse(header=header, users=users)

    async def user_delete(self, request: Any, caller: Caller) -> Any:
        header = await self._change(caller, AuthAction.USER_DELETE, request.name)
        return rpc.AuthUserDeleteResponse(header=header)

    async def user_grant_role(self, request: Any, caller: Caller) -> Any:
        header = await self._change(caller, AuthAction.USER_GRANT, request.user, request.role)
        return rpc.AuthUserGrantRoleResponse(header=header)

    async def user_revoke_role(self, request: Any, caller: Caller) -> Any:
        header = await self._change(caller, AuthAction.USER_REVOKE, request.name, request.role)
        return rpc.AuthUserRevokeRoleResponse(header=header)

    async def role_add(self, request: Any, caller: Caller) -> Any:
        header = await self._change(caller, AuthAction.ROLE_ADD, request.name)
        return rpc.AuthRoleAddResponse(header=header)

    async def role_get(self, request: Any, caller: Caller) -> Any:
        header, permissions = await self._read(caller, AuthAction.ROLE_GET, request.role)
        reply = rpc.AuthRoleGetResponse(header=header)
        for kind, key, range_end in permissions:
            reply.perm.add(permType=kind, key=key, range_end=range_end)
        return reply

    async def role_list(self, request: Any, caller: Caller) -> Any:
        header, roles = await self._read(caller, AuthAction.ROLE_LIST)
        return rpc.AuthRoleListResponse(header=header, roles=roles)

    async def role_delete(self, request: Any, caller: Caller) -> Any:
        header = await self._change(caller, AuthAction.ROLE_DELETE, request.role)
        return rpc.AuthRoleDeleteResponse(header=header)

    async def role_grant_permission(self, request: Any, caller: Caller) -> Any:
        granted = request.perm
        header = await self._change(
            caller,
            AuthAction.ROLE_GRANT,
            request.name,
            granted.permType,
            granted.key,
            granted.range_end,
        )
        return rpc.AuthRoleGrantPermissionResponse(header=header)

    async def role_revoke_permission(self, request: Any, caller: Caller) -> Any:
        action = AuthAction.ROLE_REVOKE
        header = await self._change(caller, action, request.role, request.key, request.range_end)
        return rpc.AuthRoleRevokePermissionResponse(header=header)

    async def _hash_of(self, request: Any) -> bytes:
        """A client may have made it itself."""
        if not request.hashedPassword:
            return await self._authenticator.passwords.hash(request.password)
        try:
            return base64.b64decode(request.hashedPassword, validate=True)
        except binascii.Error:
            raise ApiError(Status.INVALID_ARGUMENT, BAD_HASH) from None

    async def _change(self, caller: Caller, action: AuthAction, *arguments: Any) -> Any:
        """The header of the answer. What is remembered of users here is over then."""
        result = await self._link.ask(caller, auth(action, *arguments))
        await self._authenticator.refresh()
        return self._link.header(result[1])

    async def _read(
        self, caller: Caller, action: AuthAction, *arguments: Any
    ) -> tuple[Any, Sequence[Any]]:
        _, revision, found = await self._link.ask(caller, auth(action, *arguments))
        return self._link.header(revision), found
