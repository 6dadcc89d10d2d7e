"""URLs in etcd's spelling: what names a place, and what is refused with a sentence."""

import pytest

from metastore.transport.errors import BadAddress
from metastore.transport.urls import Url, parse_url, peer_url, split_urls


@pytest.mark.parametrize(
    ("text", "url", "address"),
    [
        ("http://h4:2380", Url("http", "h4", 2380), "tcp://h4:2380"),
        ("https://10.0.0.1:1", Url("https", "10.0.0.1", 1), "tcp://10.0.0.1:1"),
        ("http://[::1]:2380", Url("http", "::1", 2380), "tcp://[::1]:2380"),
        ("http://0.0.0.0:2379", Url("http", "0.0.0.0", 2379), "tcp://0.0.0.0:2379"),
    ],
)
def test_a_url_names_a_place(text: str, url: Url, address: str) -> None:
    assert parse_url(text) == url
    assert str(url.address) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "foo", "tcp://h:1", "unix://h:1", "http://h", "http://h:0", "http://h:abc"),
        *("http://h:99999", "http://:1", "http://h:1/", "http://h:1/x", "http://h:1?x", "http://"),
        *("http://h:1#x", "http://u@h:1", "http://[::1:1", "http://h h:1", "http://*:1"),
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_url(text)


def test_urls_are_written_with_commas_and_count_once() -> None:
    assert split_urls(" http://a:1,, https://b:2 ,http://a:1") == ("http://a:1", "https://b:2")
    assert split_urls("") == ()
    with pytest.raises(BadAddress):
        split_urls("http://a:1,b:2")


def test_a_peer_address_is_shown_as_a_url() -> None:
    assert peer_url("tcp://[::1]:7001") == "http://[::1]:7001"
