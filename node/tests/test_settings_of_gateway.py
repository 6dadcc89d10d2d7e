"""Settings of the etcd gateway: URLs, what belongs together, and what is handed on to it."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from metastore.node import gateway
from metastore.node.gateway import check_installed, command_of
from metastore.node.settings import Settings, SettingsInvalid
from metastore.node.settings_sources import load

REQUIRED = ["--node-id", "1", "--data-dir", "data"]
LOCAL = "http://127.0.0.1:2379"
TLS = ["--etcd-cert-file", "cert.pem", "--etcd-key-file", "key.pem"]


def flags(*more: str) -> Settings:
    return load([*REQUIRED, *more], {})


def options(command: Sequence[str]) -> list[tuple[str, str]]:
    return list(pairwise(command))


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        (["--etcd", LOCAL], (LOCAL,)),
        (["--etcd", "127.0.0.1:2379"], (LOCAL,)),
        (["--etcd", LOCAL + "/"], (LOCAL,)),
        (["--etcd", f"{LOCAL},http://[::1]:1"], (LOCAL, "http://[::1]:1")),
        (["--etcd", LOCAL, "--etcd", "localhost:1"], (LOCAL, "http://localhost:1")),
        (["--etcd", "http://0.0.0.0:1", "--insecure"], ("http://0.0.0.0:1",)),
        (["--etcd", "https://0.0.0.0:1", *TLS], ("https://0.0.0.0:1",)),
    ],
)
def test_urls_are_taken_with_commas_or_repeated_and_http_need_not_be_said(
    given: list[str], urls: tuple[str, ...]
) -> None:
    assert flags(*given).etcd == urls


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--etcd", "2379"], "URLs like http://HOST:PORT"),
        (["--etcd", "ftp://127.0.0.1:1"], "URLs like http://HOST:PORT"),
        (["--etcd", "http://127.0.0.1"], "URLs like http://HOST:PORT"),
        (["--etcd", "http://10.0.0.1:1"], "insecure = true"),
        (["--etcd", LOCAL, "--etcd-metrics", "http://0.0.0.0:1"], "insecure = true"),
        (["--etcd", "https://127.0.0.1:1"], "etcd_cert_file and etcd_key_file"),
        (["--etcd", LOCAL, "--etcd-client-cert-auth"], "false without etcd_trusted_ca_file"),
    ],
)
def test_what_the_gateway_would_refuse_stops_the_start(given: list[str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        flags(*given)


def test_everything_is_handed_on_by_name_and_nothing_secret() -> None:
    settings = flags(
        *("--etcd", "https://127.0.0.1:1", "--etcd-metrics", "http://127.0.0.1:2", *TLS),
        *("--etcd-trusted-ca-file", "ca.pem", "--etcd-client-cert-auth", "--log-level", "debug"),
    )
    command = command_of(settings, None)
    assert command[:3] == [sys.executable, "-m", "metastore.api"]
    assert {
        ("--node", "tcp://127.0.0.1:7002"),
        ("--node-status", "tcp://127.0.0.1:7003"),
        ("--listen", "https://127.0.0.1:1"),
        ("--listen-metrics", "http://127.0.0.1:2"),
        ("--cert-file", "cert.pem"),
        ("--cert-key-file", "key.pem"),
        ("--trusted-ca-file", "ca.pem"),
        ("--auth-token", "simple"),
        ("--log-level", "debug"),
    } <= set(options(command))
    assert "--client-cert-auth" in command
    assert "--insecure" not in command
    assert command[-1] == "--until-stdin-ends"


def test_a_gateway_that_is_not_installed_stops_the_start_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway, "NEEDED_PACKAGES", ("no_such_package.inner",))
    check_installed(flags())
    with pytest.raises(SettingsInvalid, match=r"pip install metastore-raft\[etcd\]"):
        check_installed(flags("--etcd", LOCAL))


def test_the_settings_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'etcd = ["{LOCAL}"]\netcd_auth_token = "simple"\n')
    assert flags("--config", str(file)).etcd == (LOCAL,)
