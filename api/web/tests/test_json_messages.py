"""Messages of JSON, with every quirk of etcd's gateway; each was tried against a real one."""

import json
from typing import Any

import pytest

from metastore.api.protocol.messages import mvcc, rpc
from metastore.api.web.json_messages import DEPTH_MAX, to_json, to_message
from metastore.api.web.json_text import Malformed, first_value


def ranged(text: str) -> Any:
    return to_message(rpc.RangeRequest, first_value(text))


def txn(text: str) -> Any:
    return to_message(rpc.TxnRequest, first_value(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ('{"key":"YQ=="}', {"key": b"a"}),
        ('{"key":"YQ==","limit":"5","revision":6}', {"key": b"a", "limit": 5, "revision": 6}),
        ('{"limit":" 5 "}', {"limit": 5}),
        ('{"limit":-7}', {"limit": -7}),
        ('{"limit":"9223372036854775807"}', {"limit": 9223372036854775807}),
        ('{"key":null,"limit":null,"keys_only":null,"sort_order":null}', {}),
        ('{"range_end":"YQ==","keys_only":true}', {"range_end": b"a", "keys_only": True}),
        ('{"rangeEnd":"YQ==","keysOnly":true}', {"range_end": b"a", "keys_only": True}),
        ('{"range_end":"YQ==","rangeEnd":"Yg=="}', {"range_end": b"b"}),
        ('{"Key":"YQ==","unknown":[1,{"x":1.5}]}', {}),
        ('{"key":"YQ==","key":"Yg=="}', {"key": b"b"}),
        ('{"key":"Y\\r\\nQ=="}', {"key": b"a"}),
        ('{"key":"YR=="}', {"key": b"a"}),
        ('{"key":"+/8="}', {"key": b"\xfb\xff"}),
        ('{"key":[97,98]}', {"key": b"ab"}),
        ('{"key":""}', {}),
        ('{"sort_order":"DESCEND","sortTarget":1}', {"sort_order": 2, "sort_target": 1}),
        ('{"sort_order":77}', {"sort_order": 77}),
    ],
)
def test_a_message_is_what_etcd_makes_of_it(text: str, expected: dict[str, Any]) -> None:
    assert ranged(text) == rpc.RangeRequest(**expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "cannot unmarshal array"),
        ("5", "cannot unmarshal number"),
        ('"text"', "cannot unmarshal string"),
        ("true", "cannot unmarshal bool"),
        ('{"key":"not base64!"}', "illegal base64"),
        ('{"key":"YQ"}', "illegal base64"),
        ('{"key":"_-8="}', "illegal base64"),
        ('{"key":"YQ==YQ=="}', "illegal base64"),
        ('{"key":"\u00e4"}', "illegal base64"),
        ('{"key":5}', "cannot unmarshal number"),
        ('{"key":[256]}', "cannot unmarshal array"),
        ('{"key":["a"]}', "cannot unmarshal array"),
        ('{"limit":1.0}', "cannot unmarshal number 1.0"),
        ('{"limit":1e0}', "cannot unmarshal number 1e0"),
        ('{"limit":"1.0"}', "int64"),
        ('{"limit":"many"}', "int64"),
        ('{"limit":""}', "int64"),
        ('{"limit":"007"}', "int64"),
        ('{"limit":"\u0665"}', "int64"),
        ('{"limit":true}', "cannot unmarshal bool"),
        ('{"limit":9223372036854775808}', "int64"),
        ('{"limit":"-9223372036854775809"}', "int64"),
        ('{"limit":"' + "9" * 5000 + '"}', "int64"),
        ('{"keys_only":"true"}', "cannot unmarshal string"),
        ('{"keys_only":1}', "cannot unmarshal number"),
        ('{"sort_order":"descend"}', "unknown value"),
        ('{"sort_order":"1"}', "unknown value"),
        ('{"sort_order":2147483648}', "int32"),
        ('{"sort_order":true}', "cannot unmarshal bool"),
    ],
)
def test_what_etcd_refuses_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        ranged(text)


def test_a_text_is_a_text_and_half_a_pair_becomes_a_sign_for_it() -> None:
    named = to_message(rpc.AuthUserGetRequest, first_value('{"name":"\\ud800x\\ud83d\\ude00"}'))
    assert named.name == "\ufffdx\U0001f600"
    with pytest.raises(Malformed, match="Go value of type string"):
        to_message(rpc.AuthUserGetRequest, {"name": 5})


def test_unsigned_numbers_have_their_own_range() -> None:
    assert to_message(rpc.MemberRemoveRequest, {"ID": "18446744073709551615"}).ID == (1 << 64) - 1
    with pytest.raises(Malformed, match="uint64"):
        to_message(rpc.MemberRemoveRequest, {"ID": -1})


def test_of_a_oneof_the_last_field_counts_and_an_empty_message_is_there() -> None:
    both = txn('{"success":[{"request_put":{},"request_range":{"key":"YQ=="}}]}')
    assert both.success[0].WhichOneof("request") == "request_put"
    assert not both.success[0].request_put.key
    watch = to_message(rpc.WatchRequest, {"progress_request": {}})
    assert watch.WhichOneof("request_union") == "progress_request"
    zero = txn('{"compare":[{"version":0,"key":"YQ=="}]}').compare[0]
    assert zero.WhichOneof("target_union") == "version"


def test_what_may_be_many_is_a_list_and_null_in_it_an_empty_one() -> None:
    assert len(txn('{"success":[null,{}]}').success) == 2
    filters = {"create_request": {"filters": ["NODELETE", 0]}}
    assert list(to_message(rpc.WatchRequest, filters).create_request.filters) == [1, 0]
    for text in ('{"success":{}}', '{"success":["x"]}', '{"compare":5}'):
        with pytest.raises(Malformed, match="cannot unmarshal"):
            txn(text)


def test_messages_in_messages_have_a_limit() -> None:
    def nested(depth: int) -> Any:
        value: Any = {}
        for _ in range(depth):
            value = {"success": [{"request_txn": value}]}
        return to_message(rpc.TxnRequest, value)

    nested(DEPTH_MAX // 2)
    for depth in (DEPTH_MAX // 2 + 1, 5000):
        with pytest.raises(Malformed):
            nested(depth)


def test_numbers_of_64_bits_leave_as_texts_others_as_numbers_and_zeros_not_at_all() -> None:
    header = rpc.ResponseHeader(cluster_id=(1 << 64) - 1, revision=-1)
    hashed = rpc.HashKVResponse(header=header, hash=(1 << 32) - 1, compact_revision=0)
    expected = {
        "header": {"cluster_id": "18446744073709551615", "revision": "-1"},
        "hash": 4294967295,
    }
    assert to_json(hashed) == expected
    assert to_json(rpc.RangeResponse()) == {}


def test_bytes_enums_and_names_leave_as_etcd_writes_them() -> None:
    event = mvcc.Event(type=1, kv=mvcc.KeyValue(key=b"\xfb\xff", mod_revision=3))
    response = rpc.WatchResponse(created=True, events=[event, mvcc.Event(kv=mvcc.KeyValue())])
    assert to_json(response) == {
        "created": True,
        "events": [
            {"type": "DELETE", "kv": {"key": "+/8=", "mod_revision": "3"}},
            {"kv": {}},
        ],
    }
    member = rpc.Member(ID=5, peerURLs=["a", "b"], isLearner=True)
    listed = rpc.MemberListResponse(members=[member])
    expected = {"ID": "5", "peerURLs": ["a", "b"], "isLearner": True}
    assert to_json(listed) == {"members": [expected]}
    keys = rpc.LeaseTimeToLiveResponse(ID=7, TTL=-1, grantedTTL=5, keys=[b"a", b""])
    assert to_json(keys) == {"ID": "7", "TTL": "-1", "grantedTTL": "5", "keys": ["YQ==", ""]}


def test_an_enum_that_has_no_name_leaves_as_its_number() -> None:
    alarm = rpc.AlarmMember(memberID=1)
    alarm.alarm = 9
    assert to_json(alarm) == {"memberID": "1", "alarm": 9}


def test_what_leaves_comes_back_as_the_same_message() -> None:
    text = json.dumps(to_json(WHOLE))
    assert txn(text) == WHOLE


WHOLE = rpc.TxnRequest(
    compare=[
        rpc.Compare(result=1, target=3, key=b"k", value=b"\0\xff"),
        rpc.Compare(target=0, key=b"k", version=0),
    ],
    success=[
        rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", lease=-5, prev_kv=True)),
        rpc.RequestOp(request_txn=rpc.TxnRequest()),
    ],
)
