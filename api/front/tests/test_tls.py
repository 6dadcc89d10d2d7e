"""TLS and client certificates on the port, and files that change."""

import asyncio
import logging
import os
import shutil
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from certificates import Authority
from fronting import REQUEST, ask_put, client_context, fronted, secure_channel
from grpc_serving import LIMIT_S, PUT, status_of

from metastore.api.front.tls import Tls, TlsFiles, TlsFilesInvalid


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    cert_file, key_file = authority.issue(tmp_path, "server")
    return TlsFiles(cert_file=cert_file, key_file=key_file)


def with_clients(files: TlsFiles, authority: Authority, *, auth: bool = True) -> TlsFiles:
    return TlsFiles(
        cert_file=files.cert_file,
        key_file=files.key_file,
        trusted_ca_file=authority.file,
        client_cert_auth=auth,
    )


async def served_name(port: int, authority: Path) -> str:
    """The common name of the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(authority))
    certificate: Any = writer.get_extra_info("peercert")
    writer.close()
    return dict(part[0] for part in certificate["subject"])["commonName"]


def test_grpc_and_http_are_served_by_tls_on_one_port(authority: Authority, files: TlsFiles) -> None:
    async def ask() -> None:
        async with fronted(files) as fronted_:
            async with secure_channel(fronted_.target, authority.file) as channel:
                assert await ask_put(channel, bytes(1 << 20)) == 1 << 20
            async with aiohttp.ClientSession() as session:
                context = client_context(authority.file)
                async with session.post(
                    f"{fronted_.url}/v3", data=bytes(1 << 20), ssl=context
                ) as reply:
                    assert await reply.text() == f"127.0.0.1 /v3 {1 << 20}"
            assert fronted_.echo.callers[0].address.startswith("127.0.0.1:")
            await fronted_.until(lambda: fronted_.front.connection_count == 0)

    asyncio.run(ask())


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_both_protocols_are_agreed_on(authority: Authority, files: TlsFiles, protocol: str) -> None:
    async def ask() -> None:
        async with fronted(files) as fronted_:
            context = client_context(authority.file)
            context.set_alpn_protocols([protocol])
            _, writer = await asyncio.open_connection("127.0.0.1", fronted_.port, ssl=context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
            writer.close()

    asyncio.run(ask())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # that they are old
def test_old_versions_of_tls_are_refused(authority: Authority, files: TlsFiles) -> None:
    async def ask() -> None:
        async with fronted(files) as fronted_:
            context = client_context(authority.file)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", fronted_.port, ssl=context)

    asyncio.run(ask())


def test_the_name_in_a_client_certificate_is_the_callers(
    authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    alice = authority.issue(tmp_path, "alice")

    async def ask(tls: TlsFiles) -> str:
        async with fronted(tls) as fronted_:
            async with secure_channel(fronted_.target, authority.file, alice) as channel:
                await ask_put(channel)
            return fronted_.echo.callers[0].certificate_name

    assert asyncio.run(ask(with_clients(files, authority))) == "alice"
    # Checked as well, as etcd does, but not taken for a user's name.
    assert asyncio.run(ask(with_clients(files, authority, auth=False))) == ""


@pytest.mark.parametrize("auth", [True, False])
def test_clients_without_a_good_certificate_are_refused(
    authority: Authority, files: TlsFiles, tmp_path: Path, auth: bool
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "somebody else").issue(tmp_path, "mallory")

    async def ask() -> None:
        async with fronted(with_clients(files, authority, auth=auth)) as fronted_:
            for client in (None, stranger):
                async with secure_channel(fronted_.target, authority.file, client) as channel:
                    call = channel.unary_unary(PUT)(b"", timeout=LIMIT_S)
                    assert (await status_of(call))[0] == "UNAVAILABLE"
            assert fronted_.echo.callers == []
            await fronted_.until(lambda: fronted_.front.connection_count == 0)

    asyncio.run(ask())


def test_plain_text_on_a_tls_port_is_disconnected(files: TlsFiles) -> None:
    async def ask() -> None:
        async with fronted(files) as fronted_:
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            writer.write(REQUEST)
            async with asyncio.timeout(LIMIT_S):
                assert not (await reader.read(100)).startswith(b"HTTP/1.1 200")
            writer.close()
            await fronted_.until(lambda: fronted_.front.connection_count == 0)

    asyncio.run(ask())


def test_a_new_certificate_is_used_without_a_restart(
    authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    new = authority.issue(tmp_path, "renewed")

    async def ask() -> None:
        async with fronted(files) as fronted_:
            channel = secure_channel(fronted_.target, authority.file)
            await ask_put(channel)
            assert await served_name(fronted_.port, authority.file) == "server"
            replace(new, files)
            assert await served_name(fronted_.port, authority.file) == "renewed"
            await ask_put(channel)  # the old connection goes on
            await channel.close()

    asyncio.run(ask())


def test_files_that_became_useless_leave_the_old_certificate_and_one_line(
    authority: Authority, files: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = authority.issue(tmp_path, "renewed")

    async def ask() -> None:
        async with fronted(files) as fronted_:
            shutil.copy(new[0], files.cert_file)  # its key has not come yet
            for _ in range(3):
                assert await served_name(fronted_.port, authority.file) == "server"
            replace(new, files)
            assert await served_name(fronted_.port, authority.file) == "renewed"
            files.cert_file.unlink()
            assert await served_name(fronted_.port, authority.file) == "renewed"

    with caplog.at_level(logging.ERROR, logger="metastore.api.front"):
        asyncio.run(ask())
    lines = [one.message for one in caplog.records if one.name == "metastore.api.front"]
    assert len(lines) == 2
    assert str(files.key_file) in lines[0]
    assert f"{files.cert_file}: No such file or directory" in lines[1]


def replace(new: tuple[Path, Path], files: TlsFiles) -> None:
    for source, target in zip(new, (files.cert_file, files.key_file), strict=True):
        shutil.copy(source, target.with_suffix(".new"))
        os.replace(target.with_suffix(".new"), target)


def test_files_that_cannot_be_used_are_named(
    authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    other = authority.issue(tmp_path, "other")
    sealed = authority.issue(tmp_path, "sealed", b"a password")
    rubbish, missing = tmp_path / "rubbish", tmp_path / "missing"
    rubbish.write_text("no PEM")
    cases = [
        (missing, files.key_file, None, f"{missing}: No such file"),
        (files.cert_file, missing, None, f"{missing}: No such file"),
        (rubbish, files.key_file, None, f"{rubbish}: is not a PEM certificate"),
        (files.cert_file, rubbish, None, f"{rubbish}: is not a PEM private key"),
        (files.cert_file, other[1], None, f"{other[1]}: is not the key of"),
        (sealed[0], sealed[1], None, f"{sealed[1]}: is not a PEM private key without"),
        (files.cert_file, files.key_file, rubbish, f"{rubbish}: is not a PEM certificate"),
    ]
    for cert_file, key_file, trusted, text in cases:
        tls = TlsFiles(cert_file=cert_file, key_file=key_file, trusted_ca_file=trusted)
        with pytest.raises(TlsFilesInvalid) as caught:
            Tls(tls)
        assert text in str(caught.value)


def test_client_certificates_need_authorities(files: TlsFiles) -> None:
    tls = TlsFiles(cert_file=files.cert_file, key_file=files.key_file, client_cert_auth=True)
    with pytest.raises(TlsFilesInvalid, match="trusted CA"):
        Tls(tls)
