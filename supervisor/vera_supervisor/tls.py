"""Certificates, checked when they are read: a fault is a sentence, and not a failed handshake."""

import os
import ssl
import stat
from typing import Final, NoReturn

from vera_supervisor.config import Config
from vera_supervisor.trusted_files import is_ours, open_to_read
from vera_worker.errors import VeraError

#: A private key may be read by a group, as systemd's credentials and Debian's ssl-cert are.
_NOT_FOR_KEY: Final = 0o027


class UnfitCertificate(VeraError):
    """The files of TLS cannot be used; the message says what to do."""


def server_context(config: Config) -> ssl.SSLContext | None:
    """Return how to speak TLS, or None for plain HTTP; raise UnfitCertificate."""
    server = config.server
    if server.tls_cert is None:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(server, name) is not None:
                raise UnfitCertificate(f"server.{name} needs server.tls_cert beside it")
        return None
    if server.tls_key is None:
        raise UnfitCertificate("server.tls_cert needs server.tls_key, the private key, beside it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _require_readable("server.tls_cert", server.tls_cert)
    _check_key(server.tls_key)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key, _no_passphrase)
    except _Encrypted:
        raise UnfitCertificate(
            f"server.tls_key {server.tls_key} needs a passphrase, and nobody is there to give it: "
            f"store it without one (openssl pkey -in FILE -out FILE)"
        ) from None
    except ssl.SSLError as error:
        raise UnfitCertificate(_words(server.tls_cert, server.tls_key, error)) from error
    if server.tls_client_ca is not None:
        _require_readable("server.tls_client_ca", server.tls_client_ca)
        try:
            context.load_verify_locations(server.tls_client_ca)
        except ssl.SSLError as error:
            raise UnfitCertificate(
                f"server.tls_client_ca {server.tls_client_ca} holds no certificate in PEM form"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_key(path: str) -> None:
    _require_readable("server.tls_key", path)
    found = os.stat(path)
    if not is_ours(found):
        raise UnfitCertificate(
            f"server.tls_key {path} belongs to user {found.st_uid}, who knows it: make a new key"
        )
    if stat.S_IMODE(found.st_mode) & _NOT_FOR_KEY:
        raise UnfitCertificate(
            f"server.tls_key {path} is open to other users: make a new key, and chmod 600 it"
        )


def _require_readable(key: str, path: str) -> None:
    try:
        file = open_to_read(path)
    except OSError as error:
        raise UnfitCertificate(f"{key} {path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnfitCertificate(f"{key} {path} is not a file")
    finally:
        os.close(file)


class _Encrypted(Exception):
    pass


def _no_passphrase() -> NoReturn:
    raise _Encrypted  # else OpenSSL would ask at the terminal


def _words(cert: str, key: str, error: ssl.SSLError) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH" | "NO_CERTIFICATE_ASSIGNED":
            return f"server.tls_key {key} is not the key of the certificate in {cert}"
        case _:
            return (
                f"server.tls_cert {cert} and server.tls_key {key} are not a certificate and a "
                f"private key in PEM form ({error.reason or error})"
            )
