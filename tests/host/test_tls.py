"""What is wrong with certificates is said in one sentence before anybody is served."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.tls_files import TlsFiles, tls_files
from vera_supervisor.config import Config, Server
from vera_supervisor.tls import UnfitCertificate, server_context


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return tls_files(tmp_path)


def context(**settings: Any) -> ssl.SSLContext | None:
    return server_context(Config(server=Server(**settings)))


def refusal(**settings: Any) -> str:
    with pytest.raises(UnfitCertificate) as refused:
        context(**settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert context() is None


def test_old_versions_are_not_spoken(files: TlsFiles) -> None:
    made = context(tls_cert=files.cert("worker"), tls_key=files.key("worker"))
    assert made is not None
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_NONE


def test_clients_are_asked_for_theirs_where_authorities_are_named(files: TlsFiles) -> None:
    made = context(
        tls_cert=files.cert("worker"),
        tls_key=files.key("worker"),
        tls_client_ca=files.authority,
    )
    assert made is not None
    assert made.verify_mode is ssl.CERT_REQUIRED


def test_each_fault_has_its_sentence(files: TlsFiles, tmp_path: Path) -> None:
    cert, key = files.cert("worker"), files.key("worker")
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "junk").chmod(0o600)
    junk, nowhere = str(tmp_path / "junk"), str(tmp_path / "nowhere")
    assert refusal(tls_cert=cert) == (
        "server.tls_cert needs server.tls_key, the private key, beside it"
    )
    assert refusal(tls_key=key) == "server.tls_key needs server.tls_cert beside it"
    assert "tls_client_ca needs" in refusal(tls_client_ca=files.authority)
    for name in ("tls_cert", "tls_key", "tls_client_ca"):
        settings = {"tls_cert": cert, "tls_key": key, "tls_client_ca": files.authority}
        said = refusal(**settings | {name: nowhere})
        assert said == f"server.{name} {nowhere} cannot be read: No such file or directory"
        assert "is not a file" in refusal(**settings | {name: str(tmp_path)})
        assert "in PEM form" in refusal(**settings | {name: junk})
    assert "is not the key of" in refusal(tls_cert=cert, tls_key=files.key("client"))
    assert "needs a passphrase" in refusal(tls_cert=cert, tls_key=files.key("encrypted"))


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o660])
def test_a_key_that_others_can_read_is_refused(files: TlsFiles, mode: int) -> None:
    Path(files.key("worker")).chmod(mode)
    said = refusal(tls_cert=files.cert("worker"), tls_key=files.key("worker"))
    assert "is open to other users" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(files: TlsFiles) -> None:
    os.chown(files.key("worker"), 12345, 12345)
    said = refusal(tls_cert=files.cert("worker"), tls_key=files.key("worker"))
    assert "belongs to user 12345" in said


def test_a_key_may_be_read_by_its_group(files: TlsFiles) -> None:
    Path(files.key("worker")).chmod(0o640)
    assert context(tls_cert=files.cert("worker"), tls_key=files.key("worker"))
