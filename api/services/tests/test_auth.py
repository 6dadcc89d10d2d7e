"""The Auth service in front of the real state machine; whole scenarios are compared with etcd in
integration/."""

import pytest
from auth_link import AuthLink, Gateway, outcome, play
from engine_link import header

from metastore.api.access.authenticator import AUTH_FAILED, INVALID_TOKEN, NO_PASSWORD
from metastore.api.calls import Caller
from metastore.api.protocol.messages import auth as authpb
from metastore.api.protocol.messages import rpc
from metastore.transport.auth_ops import PERMISSION_DENIED, USER_EMPTY, AuthAction
from metastore.transport.schema import Op, put

NOBODY = Caller()


def actions_of(link: AuthLink) -> list[int]:
    return [operation[1] for operation in link.performed if operation[0] == Op.AUTH]


def test_every_answer_has_a_header() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        gateway.link.apply(put(b"k", b"v"))
        status = await gateway.service.auth_status(rpc.AuthStatusRequest(), root)
        assert status == rpc.AuthStatusResponse(header=header(2), enabled=True, authRevision=4)
        request = rpc.AuthenticateRequest(name="ann", password="a")
        reply = await gateway.service.authenticate(request, NOBODY)
        assert reply.header == header(2)
        users = await gateway.service.user_list(rpc.AuthUserListRequest(), root)
        assert users == rpc.AuthUserListResponse(header=header(2), users=["ann", "root"])
        added = await gateway.service.role_add(rpc.AuthRoleAddRequest(name="r"), root)
        assert added == rpc.AuthRoleAddResponse(header=header(2))

    play(body)


def test_who_may_not_add_users_makes_us_hash_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.with_root()
        ann = await gateway.log_in("ann", "a")

        async def never(password: str) -> bytes:
            raise RuntimeError("a hash was made")

        monkeypatch.setattr(gateway.access.passwords, "hash", never)
        service = gateway.service
        for caller, answer in (
            (NOBODY, (3, USER_EMPTY)),
            (ann, (7, PERMISSION_DENIED)),
            (Caller("no token"), (16, INVALID_TOKEN)),
        ):
            add = rpc.AuthUserAddRequest(name="x", password="p")
            assert await outcome(service.user_add(add, caller)) == answer
            change = rpc.AuthUserChangePasswordRequest(name="ann", password="p")
            assert await outcome(service.user_change_password(change, caller)) == answer

    play(body)


def test_a_hash_that_a_client_made_is_not_looked_at() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        add = rpc.AuthUserAddRequest(name="ben", password="own", hashedPassword="!!!")
        await gateway.service.user_add(add, root)
        assert (await gateway.log_in("ben", "own")).token

    play(body)


def test_a_user_without_a_password_gets_none_by_changing_it() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        options = authpb.UserAddOptions(no_password=True)
        await gateway.service.user_add(rpc.AuthUserAddRequest(name="ben", options=options), root)
        change = rpc.AuthUserChangePasswordRequest(name="ben", password="new")
        await gateway.service.user_change_password(change, root)
        assert await outcome(gateway.log_in("ben", "new")) == (2, NO_PASSWORD)
        # But is one, as far as certificates are concerned.
        assert (await gateway.access.credentials("ben")).password_revision > 0

    play(body)


def test_a_changed_password_is_known_at_once_where_it_was_changed() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        ann = await gateway.log_in("ann", "a")
        get = rpc.AuthUserGetRequest(name="ann")
        assert (await gateway.service.user_get(get, ann)).HasField("header")
        change = rpc.AuthUserChangePasswordRequest(name="ann", password="new")
        await gateway.service.user_change_password(change, root)
        assert await outcome(gateway.service.user_get(get, ann)) == (16, INVALID_TOKEN)
        assert await outcome(gateway.log_in("ann", "a")) == (3, AUTH_FAILED)
        assert (await gateway.log_in("ann", "new")).token

    play(body)


def test_what_another_gateway_changed_is_found_by_the_first_request_that_is_refused() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        ann = await gateway.log_in("ann", "a")
        other = gateway.other()
        get = rpc.AuthUserGetRequest(name="ann")
        for caller in (ann, root):
            assert (await other.service.user_get(get, caller)).HasField("header")
        await gateway.service.user_delete(rpc.AuthUserDeleteRequest(name="ann"), root)
        assert await outcome(other.service.user_get(get, ann)) == (16, INVALID_TOKEN)
        role = rpc.AuthRoleAddRequest(name="role")
        assert (await other.service.role_add(role, root)).HasField("header")

    play(body)


def test_no_token_is_valid_any_more_once_auth_was_off() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        other = gateway.other()
        get = rpc.AuthUserGetRequest(name="ann")
        assert (await other.service.user_get(get, root)).HasField("header")
        await gateway.service.auth_disable(rpc.AuthDisableRequest(), root)
        for one in (gateway, other):
            assert await outcome(one.service.user_get(get, root)) == (16, INVALID_TOKEN)
            assert (await one.service.user_get(get, NOBODY)).HasField("header")
        await gateway.service.auth_enable(rpc.AuthEnableRequest(), NOBODY)
        for one in (gateway, other):
            assert await outcome(one.service.user_get(get, root)) == (16, INVALID_TOKEN)
            assert await outcome(one.service.user_get(get, NOBODY)) == (3, USER_EMPTY)

    play(body)


def test_a_certificate_counts_on_a_gateway_that_thinks_auth_is_off() -> None:
    async def body(gateway: Gateway) -> None:
        other = gateway.other()
        get = rpc.AuthUserGetRequest(name="ann")
        missing = await outcome(other.service.user_get(get, NOBODY))
        assert missing == (9, "etcdserver: user name not found")
        await gateway.with_root()
        role = rpc.AuthRoleListRequest()
        root = Caller(certificate_name="root")
        assert (await other.service.role_list(role, root)).HasField("header")

    play(body)


def test_the_permission_is_needed_before_it_is_missed() -> None:
    async def body(gateway: Gateway) -> None:
        root = await gateway.with_root()
        ann = await gateway.log_in("ann", "a")
        grant = gateway.service.role_grant_permission
        without = rpc.AuthRoleGrantPermissionRequest(name="role")
        unknown = rpc.AuthRoleGrantPermissionRequest(
            name="role", perm=authpb.Permission(permType=7)
        )
        for request in (without, unknown):
            assert await outcome(grant(request, ann)) == (7, PERMISSION_DENIED)
            assert (await outcome(grant(request, root)))[0] == 3
        assert AuthAction.ROLE_GRANT not in actions_of(gateway.link)

    play(body)
