"""An etcd is read page by page as of one revision, in the name of a user, and errors are told."""

from pathlib import Path

import grpc
import pytest
from scripted_etcd import ScriptedEtcd, connected, kv

from metastore.api.importing.source import PAGE_BYTES, Source, SourceOptions
from metastore.client.errors import InvalidRequest, MetastoreError, PermissionDenied, Unavailable

ALL = (b"\0", b"\0")


def test_every_key_comes_once_in_pages_as_of_one_revision() -> None:
    keys = [kv(b"%05d" % number, number + 2) for number in range(1000)]
    etcd = ScriptedEtcd(keys)
    with connected(etcd) as source:
        pages = list(source.keys(*ALL, 777))
    assert [kv.key for page in pages for kv in page] == [kv.key for kv in keys]
    assert len(pages) > 2
    assert {request.revision for request in etcd.requests} == {777}


def test_large_values_make_small_pages() -> None:
    keys = [kv(b"%05d" % number, number + 2, bytes(200_000)) for number in range(60)]
    etcd = ScriptedEtcd(keys)
    with connected(etcd) as source:
        pages = list(source.keys(*ALL, 777))
    assert sum(map(len, pages)) == 60
    assert max(map(len, pages[1:])) <= PAGE_BYTES // 200_000


def test_no_keys_are_no_pages() -> None:
    with connected(ScriptedEtcd()) as source:
        assert list(source.keys(*ALL, 1)) == []
        assert source.count(*ALL, 1) == 0


def test_leases_that_ended_are_left_out() -> None:
    etcd = ScriptedEtcd(leases={number: 100 + number for number in range(1, 200)})
    with connected(etcd) as source:
        assert sorted(source.leases()) == list(range(1, 200))
        granted = dict(source.granted([*range(1, 200), 777]))
    assert granted == etcd.leases


def test_a_user_has_a_token_and_gets_another_when_it_grows_old() -> None:
    etcd = ScriptedEtcd([kv(b"a", 5)])
    etcd.is_auth_on = True
    with connected(etcd, user="ann", password="word") as source:
        assert source.revision(b"\0") == 5
        etcd.failures["Range"] = (
            grpc.StatusCode.UNAUTHENTICATED,
            "etcdserver: invalid auth token",
        )
        assert source.count(*ALL, 5) == 1
    assert etcd.tokens == ["", "ann 1", "ann 1", "", "ann 2"]


def test_a_name_is_no_obstacle_where_authentication_is_off() -> None:
    etcd = ScriptedEtcd()
    with connected(etcd, user="ann", password="word") as source:
        assert source.revision(b"\0") == 1
    assert etcd.tokens == ["", ""]


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "too late", Unavailable),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", PermissionDenied),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", PermissionDenied),
        (
            grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            InvalidRequest,
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", InvalidRequest),
    ],
)
def test_errors_are_the_clients_own_and_name_the_endpoint(
    code: grpc.StatusCode, text: str, error: type[MetastoreError]
) -> None:
    etcd = ScriptedEtcd()
    etcd.failures["Range"] = (code, text)
    with connected(etcd) as source, pytest.raises(error, match=f"127.0.0.1:.*{text}"):
        list(source.keys(*ALL, 2))


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions("ftp://a:1"),
        SourceOptions("http://"),
        SourceOptions("http://a:1/path"),
        SourceOptions("http://a:1", ca_file=Path("ca")),
        SourceOptions("https://a:1", cert_file=Path("cert")),
    ],
)
def test_endpoints_and_certificates_that_make_no_sense_are_refused(options: SourceOptions) -> None:
    with pytest.raises(InvalidRequest):
        Source(options)


def test_a_certificate_that_is_not_there_is_an_error_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        Source(SourceOptions("https://a:1", ca_file=tmp_path / "nothing"))
