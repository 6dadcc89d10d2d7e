"""Steps that test_etcd_auth.py takes with a real etcd and with our services, one after the other.

A step is (who, method, request); `who` is a user that has logged in before, or one of the words
below. They build on each other: users, then auth on, what each may do, what changes, and off.
"""

from collections.abc import Iterator
from typing import Any

from metastore.api.protocol.messages import auth, rpc

NOBODY = ""  # says nothing
LIAR = "liar"  # has a token that nobody gave out
READ, WRITE, READWRITE = 0, 1, 2
_EMPTY = b"\0"

Step = tuple[str, str, Any]


def everything() -> list[Step]:
    return [
        *_people(),
        *_refused_before(),
        *_switched_on(),
        *_log_ins(),
        *_without_rights(),
        *_keys("ann"),
        *_keys("ben"),
        *_keys(NOBODY),
        *_keys(LIAR),
        *_changes(),
        *_switched_off(),
    ]


def add(name: str, password: str = "", **more: Any) -> Any:
    return rpc.AuthUserAddRequest(name=name, password=password, **more)


def log_in(name: str, password: str) -> Step:
    return NOBODY, "authenticate", rpc.AuthenticateRequest(name=name, password=password)


def change(name: str, password: str, **more: Any) -> Any:
    return rpc.AuthUserChangePasswordRequest(name=name, password=password, **more)


def give(user: str, role: str) -> Any:
    return rpc.AuthUserGrantRoleRequest(user=user, role=role)


def grant(role: str, kind: int, key: bytes, range_end: bytes = b"") -> Any:
    permission = auth.Permission(permType=kind, key=key, range_end=range_end)
    return rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)


def get(key: bytes, range_end: bytes = b"", **more: Any) -> Any:
    return rpc.RangeRequest(key=key, range_end=range_end, **more)


STATUS = rpc.AuthStatusRequest()
ENABLE, DISABLE = rpc.AuthEnableRequest(), rpc.AuthDisableRequest()
USERS, ROLES = rpc.AuthUserListRequest(), rpc.AuthRoleListRequest()
NO_PASSWORD = auth.UserAddOptions(no_password=True)
HASH_OF_A_CLIENT = "JDJhJDA0JFJMVkJqcG5PVEVOSVdOS0ppSE1OT25zbTN3SGhWMnY1RGhsclBuaWZpclppVWt5MA=="


def _people() -> Iterator[Step]:
    yield log_in("root", "r")
    for request in (
        *(add("", "x"), add("root", "r"), add("root", "r"), add("ann", "a"), add("ben", "b")),
        *(add("empty"), add("none", options=NO_PASSWORD), add("none2", "x", options=NO_PASSWORD)),
        *(add("hash", hashedPassword=HASH_OF_A_CLIENT), add("long", "x" * 100), add("nul", "a\0b")),
    ):
        yield NOBODY, "user_add", request
    for change_ in (
        *(change("none", "new"), change("nobody", "x"), change("", "x"), change("ben", "b")),
        change("none2", "", hashedPassword=HASH_OF_A_CLIENT),
    ):
        yield NOBODY, "user_change_password", change_
    for name in ("", "reads", "writes", "all", "reads"):
        yield NOBODY, "role_add", rpc.AuthRoleAddRequest(name=name)
    yield NOBODY, "role_grant_permission", rpc.AuthRoleGrantPermissionRequest(name="reads")
    yield NOBODY, "role_grant_permission", rpc.AuthRoleGrantPermissionRequest(name="nothing")
    for request in (
        *(grant("reads", READ, b"a", b"c"), grant("reads", READ, b"c", b"e")),
        *(grant("writes", WRITE, b"w"), grant("all", READWRITE, b"x", _EMPTY)),
        *(grant("nothing", READ, b"a"), grant("reads", READWRITE, b"q"), grant("", READ, b"a")),
    ):
        yield NOBODY, "role_grant_permission", request
    for request in (
        *(give("ann", "reads"), give("ann", "writes"), give("ben", "all"), give("ann", "reads")),
        *(give("nobody", "reads"), give("ann", "nothing"), give("", "")),
    ):
        yield NOBODY, "user_grant_role", request


def _refused_before() -> Iterator[Step]:
    for who in (NOBODY, LIAR):
        yield who, "auth_status", STATUS
        yield who, "range", get(b"a")
        yield who, "lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=60)
        yield who, "user_add", add("late", "x")
        yield who, "authenticate", rpc.AuthenticateRequest(name="ann", password="a")
    yield NOBODY, "auth_disable", DISABLE
    yield NOBODY, "auth_enable", ENABLE
    yield NOBODY, "user_grant_role", give("root", "root")


def _switched_on() -> Iterator[Step]:
    yield NOBODY, "put", rpc.PutRequest(key=b"a", value=b"1")
    yield NOBODY, "auth_enable", ENABLE
    yield NOBODY, "auth_enable", ENABLE
    yield log_in("root", "r")
    for who in ("root", NOBODY, LIAR):
        yield who, "auth_status", STATUS
        yield who, "user_list", USERS
        yield who, "role_list", ROLES
    yield "root", "auth_enable", ENABLE


def _log_ins() -> Iterator[Step]:
    for name, passwords in {
        "ann": ("", "A", "a"),
        "ben": ("b",),
        "empty": ("x", ""),
        "none": ("", "new"),
        "none2": ("x",),
        "hash": ("a", ""),
        "long": ("x" * 71, "x" * 72, "x" * 100, "x" * 72 + "y"),
        "nul": ("a", "a\0c", "a\0b"),
        "nobody": ("", "x"),
        "": ("", "x"),
        "late": ("x",),
    }.items():
        for password in passwords:
            yield log_in(name, password)
    # The token that comes with a log-in is nothing to it.
    yield LIAR, "authenticate", rpc.AuthenticateRequest(name="ann", password="a")


def _without_rights() -> Iterator[Step]:
    administration: list[tuple[str, Any]] = [
        ("user_add", add("x", "x")),
        ("user_add", add("")),
        ("user_change_password", change("ann", "x")),
        ("user_delete", rpc.AuthUserDeleteRequest(name="ben")),
        ("user_grant_role", give("ann", "all")),
        ("user_revoke_role", rpc.AuthUserRevokeRoleRequest(name="ann", role="reads")),
        ("user_list", USERS),
        ("role_add", rpc.AuthRoleAddRequest(name="")),
        ("role_grant_permission", grant("reads", WRITE, b"a")),
        ("role_grant_permission", rpc.AuthRoleGrantPermissionRequest(name="reads")),
        ("role_revoke_permission", rpc.AuthRoleRevokePermissionRequest(role="reads", key=b"a")),
        ("role_delete", rpc.AuthRoleDeleteRequest(role="reads")),
        ("role_list", ROLES),
        ("auth_status", STATUS),
        ("auth_enable", ENABLE),
        ("auth_disable", DISABLE),
    ]
    for who in ("ann", NOBODY, LIAR):
        for method, request in administration:
            yield who, method, request
    for who in ("ann", "root", NOBODY):
        for name in ("ann", "ben", "nobody", ""):
            yield who, "user_get", rpc.AuthUserGetRequest(name=name)
        for role in ("reads", "all", "nothing", "root"):
            yield who, "role_get", rpc.AuthRoleGetRequest(role=role)


def _keys(who: str) -> Iterator[Step]:
    for request in (
        *(
            get(b"a"),
            get(b"a", b"e"),
            get(b"b", b"d"),
            get(b"a", b"f"),
            get(b"a", _EMPTY),
            get(b"w"),
        ),
        *(get(b"x", _EMPTY), get(b"x1", b"x2"), get(b"a", serializable=True), get(b"")),
        *(get(b"w", serializable=True), get(b"a", count_only=True), get(b"z", keys_only=True)),
    ):
        yield who, "range", request
    for request in (
        *(rpc.PutRequest(key=b"w", value=b"1"), rpc.PutRequest(key=b"w", prev_kv=True)),
        *(rpc.PutRequest(key=b"x1", value=b"1", prev_kv=True), rpc.PutRequest(key=b"a")),
        *(rpc.PutRequest(key=b""), rpc.PutRequest(key=b"x", lease=99)),
    ):
        yield who, "put", request
    for key, range_end, prev_kv in (
        *((b"w", b"", False), (b"w", b"", True), (b"x", b"y", True), (b"w", b"y", False)),
    ):
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
        yield who, "delete_range", request
    reading = rpc.RequestOp(request_range=get(b"a"))
    writing = rpc.RequestOp(request_put=rpc.PutRequest(key=b"w", value=b"t"))
    comparing = rpc.Compare(key=b"x", target=0, version=0)
    for txn in (
        *(rpc.TxnRequest(), rpc.TxnRequest(success=[reading]), rpc.TxnRequest(failure=[writing])),
        *(
            rpc.TxnRequest(success=[reading], failure=[writing]),
            rpc.TxnRequest(compare=[comparing]),
        ),
        rpc.TxnRequest(compare=[comparing], success=[reading], failure=[writing]),
    ):
        yield who, "txn", txn
    yield who, "lease_grant", rpc.LeaseGrantRequest(ID=8, TTL=60)
    yield who, "lease_revoke", rpc.LeaseRevokeRequest(ID=8)


def _changes() -> Iterator[Step]:
    see: list[Step] = [(who, "range", get(b"a")) for who in ("ann", "ben", "root")]
    for method, request in (
        ("user_change_password", change("ann", "new")),
        ("user_grant_role", give("ben", "reads")),
        ("role_revoke_permission", rpc.AuthRoleRevokePermissionRequest(role="reads", key=b"q")),
        ("role_revoke_permission", rpc.AuthRoleRevokePermissionRequest(role="reads", key=b"z")),
        ("role_revoke_permission", rpc.AuthRoleRevokePermissionRequest(role="nothing", key=b"z")),
        ("user_revoke_role", rpc.AuthUserRevokeRoleRequest(name="ben", role="reads")),
        ("user_revoke_role", rpc.AuthUserRevokeRoleRequest(name="ben", role="reads")),
        ("user_revoke_role", rpc.AuthUserRevokeRoleRequest(name="nobody", role="reads")),
        ("role_delete", rpc.AuthRoleDeleteRequest(role="all")),
        ("role_delete", rpc.AuthRoleDeleteRequest(role="all")),
        ("user_get", rpc.AuthUserGetRequest(name="ben")),
        ("user_delete", rpc.AuthUserDeleteRequest(name="ben")),
        ("user_delete", rpc.AuthUserDeleteRequest(name="ben")),
        ("user_add", add("ben", "b")),
        ("user_delete", rpc.AuthUserDeleteRequest(name="root")),
        ("user_revoke_role", rpc.AuthUserRevokeRoleRequest(name="root", role="root")),
        ("role_delete", rpc.AuthRoleDeleteRequest(role="root")),
        ("role_add", rpc.AuthRoleAddRequest(name="root")),
        ("user_change_password", change("root", "r2")),
        ("auth_status", STATUS),
    ):
        yield "root", method, request
        yield from see
    for name, password in (
        ("ann", "a"),
        ("ann", "new"),
        ("root", "r"),
        ("root", "r2"),
        ("ben", "b"),
    ):
        yield log_in(name, password)
        yield from see


def _switched_off() -> Iterator[Step]:
    yield "root", "auth_status", STATUS
    yield "root", "auth_disable", DISABLE
    for who in ("root", "ann", NOBODY):
        yield who, "range", get(b"a")
        yield who, "auth_status", STATUS
        yield who, "authenticate", rpc.AuthenticateRequest(name="ann", password="new")
    yield NOBODY, "auth_enable", ENABLE
    for who in ("root", "ann", NOBODY):
        yield who, "range", get(b"a")
    yield log_in("root", "r2")
    yield "root", "auth_disable", DISABLE
    for name in ("ann", "root", "none"):
        yield NOBODY, "user_delete", rpc.AuthUserDeleteRequest(name=name)
    yield NOBODY, "auth_enable", ENABLE
    yield NOBODY, "auth_status", STATUS
