"""TLS from files: certificate, key, the authorities of clients; read again when they change.

As etcd does it: new connections see new files without a restart, and a client certificate is asked
for as soon as there are authorities to check it with. Files that cannot be used are refused at the
start; later they leave the old ones in place.
"""

import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALPN = ("h2", "http/1.1")

_log = logging.getLogger("metastore.api.front")
_Signature = tuple[tuple[int, int, int], ...]


class TlsFilesInvalid(Exception):
    """A file of TLS that cannot be used; names it."""


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files. `client_cert_auth`: the common name of a client's certificate is a user's name;
    needs trusted_ca_file."""

    cert_file: Path
    key_file: Path
    trusted_ca_file: Path | None = None
    client_cert_auth: bool = False

    @property
    def paths(self) -> Sequence[Path]:
        files = (self.cert_file, self.key_file, self.trusted_ca_file)
        return tuple(path for path in files if path is not None)


class Tls:
    """The context for the next handshake."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsFilesInvalid."""
        self.files = files
        self._signature = _signature_of(files)
        self._context = _context_of(files)

    def context(self) -> ssl.SSLContext:
        """Of the files as they are, or as they last were of use."""
        signature = _signature_of(self.files)
        if signature != self._signature:
            # Also when they cannot be used: one line for each change, not one for each connection.
            self._signature = signature
            try:
                self._context = _context_of(self.files)
            except TlsFilesInvalid as error:
                _log.error(f"the old TLS certificate stays in use: {error}")
            else:
                _log.info(f"new connections get the new certificate of {self.files.cert_file}")
        return self._context

    def name_of(self, connection: Any) -> str:
        """The common name of the client's certificate, if it is to say who calls; "": none."""
        if not self.files.client_cert_auth:
            return ""
        certificate = connection.getpeercert() or {}
        for part in certificate.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        return ""


def _signature_of(files: TlsFiles) -> _Signature:
    """Changes when a file does; a missing one is all zeros."""
    found = []
    for path in files.paths:
        try:
            status = os.stat(path)
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


def _context_of(files: TlsFiles) -> ssl.SSLContext:
    if files.client_cert_auth and files.trusted_ca_file is None:
        raise TlsFilesInvalid("client certificates cannot be checked without a trusted CA file")
    for path in files.paths:
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsFilesInvalid(f"{path}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(ALPN))
    _load_certificate(context, files)
    if files.trusted_ca_file is not None:
        _load_authorities(context, files.trusted_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.cert_file)
    try:
        # An encrypted key is refused: without a password here the terminal would be asked for one.
        context.load_cert_chain(files.cert_file, files.key_file, password=lambda: "")
    except ssl.SSLError as error:
        reason = "is not a PEM private key without a password"
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"is not the key of {files.cert_file}"
        raise TlsFilesInvalid(f"{files.key_file}: {reason}") from None


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Also how a certificate is told from what is none: loading a chain does not say which of its
    two files is wrong."""
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        raise TlsFilesInvalid(f"{path}: is not a PEM certificate") from None
