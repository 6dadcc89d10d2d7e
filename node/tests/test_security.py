"""Keys of one node: which key may use which socket, and what is read before anything is made."""

from pathlib import Path
from typing import Any

import pytest

from metastore.node.access.file import AccessInvalid
from metastore.node.security import NodeSecurity, read_security
from metastore.node.settings import Settings
from metastore.node.settings_sources import load
from metastore.transport.errors import KeyFileInvalid
from metastore.transport.security import (
    CLIENT_DOMAIN,
    PEER_DOMAIN,
    SNAPSHOT_DOMAIN,
    STATUS_DOMAIN,
    new_keys,
    write_key_file,
)

OWN, OTHER, WEB, STRANGER = new_keys(), new_keys(), new_keys(), new_keys()
DOMAINS = (PEER_DOMAIN, CLIENT_DOMAIN, STATUS_DOMAIN, SNAPSHOT_DOMAIN)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_key_file(tmp_path / "node.key", OWN)
    (tmp_path / "access.toml").write_text(
        f'[nodes]\nkeys = ["{OWN.public}", "{OTHER.public}"]\n'
        f'[clients.web]\nkeys = ["{WEB.public}"]\nrole = "admin"\n'
    )
    flags = ["--node-id=1", f"--data-dir={tmp_path / 'data'}"]
    flags += [f"--key-file={tmp_path / 'node.key'}", f"--access-file={tmp_path / 'access.toml'}"]
    return load(flags, {})


@pytest.fixture
def security(settings: Settings) -> NodeSecurity:
    found = read_security(settings)
    assert found is not None
    return found


def test_without_a_key_file_there_are_no_keys(tmp_path: Path) -> None:
    assert read_security(load(["--node-id=1", f"--data-dir={tmp_path}"], {})) is None


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("keys", [OWN, OTHER])
def test_a_nodes_key_opens_every_socket(security: NodeSecurity, domain: str, keys: Any) -> None:
    assert security.why_not(domain, keys.public) == ""
    assert security.is_node(keys.public)


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_unknown_key_opens_none(security: NodeSecurity, domain: str) -> None:
    assert security.why_not(domain, STRANGER.public) == "its key is not in the access file"


def test_no_client_even_an_admin_gets_to_a_socket_of_the_nodes(security: NodeSecurity) -> None:
    assert [security.why_not(domain, WEB.public) for domain in DOMAINS] == [
        "it is the key of client 'web', not of a node",
        "",
        "",
        "it is the key of client 'web', not of a node",
    ]
    assert not security.is_node(WEB.public)


def test_every_key_that_a_node_may_have_is_tried_with_the_own_one(security: NodeSecurity) -> None:
    keys = sorted((OWN.public, OTHER.public))
    assert [curve.server_key for curve in security.curves()] == keys
    assert {curve.keys for curve in security.curves()} == {OWN}
    assert security.for_peers(lambda *_: None).server_keys == keys


def test_a_key_that_is_taken_out_is_no_nodes_key_any_more(
    security: NodeSecurity, settings: Settings
) -> None:
    access = settings.access_file
    assert access is not None
    aside = access.with_suffix(".new")
    aside.write_text(f'[nodes]\nkeys = ["{OWN.public}"]\n')
    aside.rename(access)
    assert security.access.reload_if_changed()
    assert not security.is_node(OTHER.public)
    assert security.server_keys() == [OWN.public]
    assert security.why_not(CLIENT_DOMAIN, WEB.public)


def test_a_file_that_cannot_be_used_is_raised_with_its_name(settings: Settings) -> None:
    assert settings.access_file is not None
    assert settings.key_file is not None
    settings.access_file.write_text("nonsense")
    with pytest.raises(AccessInvalid, match=r"access\.toml"):
        read_security(settings)
    settings.key_file.unlink()
    with pytest.raises(KeyFileInvalid, match=r"node\.key"):
        read_security(settings)
