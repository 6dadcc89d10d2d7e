"""Operations on users and roles: each action has its shape, and nothing else is one."""

import msgpack
import pytest

from metastore.transport.auth_ops import AuthAction, as_user, auth
from metastore.transport.schema import (
    MalformedRequest,
    Operation,
    decode_request,
    encode_request,
    is_read_only,
    put,
)

SECRET = b"s" * 32
READING: dict[AuthAction, Operation] = {
    AuthAction.STATUS: auth(AuthAction.STATUS),
    AuthAction.USER_GET: auth(AuthAction.USER_GET, "u"),
    AuthAction.USER_LIST: auth(AuthAction.USER_LIST),
    AuthAction.ROLE_GET: auth(AuthAction.ROLE_GET, "r"),
    AuthAction.ROLE_LIST: auth(AuthAction.ROLE_LIST),
    AuthAction.CREDENTIALS: auth(AuthAction.CREDENTIALS, "u"),
    AuthAction.CHECK: auth(AuthAction.CHECK, 3, b"", b""),
}
CHANGING: dict[AuthAction, Operation] = {
    AuthAction.ENABLE: auth(AuthAction.ENABLE, SECRET),
    AuthAction.DISABLE: auth(AuthAction.DISABLE),
    AuthAction.USER_ADD: auth(AuthAction.USER_ADD, "ü" * 1024, b"h" * 1024),
    AuthAction.USER_DELETE: auth(AuthAction.USER_DELETE, ""),
    AuthAction.USER_CHANGE_PASSWORD: auth(AuthAction.USER_CHANGE_PASSWORD, "u", b""),
    AuthAction.USER_GRANT: auth(AuthAction.USER_GRANT, "u", "r"),
    AuthAction.USER_REVOKE: auth(AuthAction.USER_REVOKE, "u", "r"),
    AuthAction.ROLE_ADD: auth(AuthAction.ROLE_ADD, "r"),
    AuthAction.ROLE_DELETE: auth(AuthAction.ROLE_DELETE, "r"),
    AuthAction.ROLE_GRANT: auth(AuthAction.ROLE_GRANT, "r", 2, b"\x00", b"\x00"),
    AuthAction.ROLE_REVOKE: auth(AuthAction.ROLE_REVOKE, "r", b"", b""),
}


def test_every_action_has_a_shape_and_either_reads_or_changes() -> None:
    assert set(READING) | set(CHANGING) == set(AuthAction)
    for operation in (*READING.values(), *CHANGING.values()):
        assert decode_request(encode_request([operation])) == (operation,)
        assert is_read_only([operation]) is (operation in READING.values())


@pytest.mark.parametrize("action", AuthAction)
def test_an_action_with_a_field_too_many_or_too_few_is_refused(action: AuthAction) -> None:
    operation = (READING | CHANGING)[action]
    wrong = [(*operation, b""), operation[:-1] if len(operation) > 2 else (*operation, 1)]
    for fields in wrong:
        with pytest.raises(MalformedRequest, match=f"action {int(action)} on users and roles"):
            decode_request(encode_request([fields]))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([18], "unknown action None"),
        ([18, 0], "unknown action 0"),
        ([18, 19], "unknown action 19"),
        ([18, True], "unknown action True"),
        ([18, "3"], "unknown action '3'"),
        ([18, [3]], "unknown action"),
        ([18, 3.0], "unknown action 3.0"),
        ([18, 1, b"s" * 31], "a secret of 31 bytes, not 32"),
        ([18, 1, "s" * 32], "str where bytes belongs"),
        ([18, 4, "u" * 1025, b""], "a name of 1025 characters"),
        ([18, 4, "u", b"h" * 1025], "hash of more than 1024 bytes"),
        ([18, 6, "u", b"h" * 1025], "hash of more than 1024 bytes"),
        ([18, 7, "u", "r" * 1025], "a name of 1025 characters"),
        ([18, 9, b"u"], "bytes where str belongs"),
        ([18, 13, "r", 3, b"", b""], "unknown permission 3"),
        ([18, 13, "r", -1, b"", b""], "unknown permission -1"),
        ([18, 13, "r", True, b"", b""], "bool where int belongs"),
        ([18, 18, 0, b"", b""], "unknown need 0"),
        ([18, 18, 4, b"", b""], "unknown need 4"),
    ],
)
def test_what_is_no_action_is_refused_with_the_reason(fields: object, sentence: str) -> None:
    with pytest.raises(MalformedRequest, match=sentence):
        decode_request(msgpack.packb([fields]))


def test_credentials_are_not_told_in_a_users_name() -> None:
    asked = READING[AuthAction.CREDENTIALS]
    for headers in ([as_user("u", 1)], [(13, 1, 1, 1), as_user("root", 1)]):
        for between in ([], [put(b"k", b"v")]):
            with pytest.raises(MalformedRequest, match="not told in a user's name"):
                decode_request(encode_request([*headers, *between, asked]))
    assert decode_request(encode_request([(13, 1, 1, 1), asked]))
