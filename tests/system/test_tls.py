"""TLS and client certificates, from the command line to the listener, and renewed by a reload."""

import re
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.support.http_answers import connect
from tests.support.patience import until
from tests.support.processes import eventually, slack_s
from tests.support.tls_files import TlsFiles, tls_files
from tests.support.worker_process import WorkerFailedError, WorkerProcess
from vera_client import Client, WorkerUnreachable, tls_context
from vera_client.lazy_group import LazyGroup
from vera_supervisor.cli import HELP, VERBS

pytestmark = pytest.mark.system

_CAME_TO_NOTHING = re.compile(r"came to nothing: 1, the last one from 127.0.0.1: \w")


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return tls_files(tmp_path)


def settings(files: TlsFiles) -> dict[str, str]:
    cert, key = files.cert("worker"), files.key("worker")
    return {"VERA_SERVER__TLS_CERT": cert, "VERA_SERVER__TLS_KEY": key, "WORKER_TOKEN": "s3cret"}


def name_of(context: ssl.SSLContext, connection: socket.socket) -> str:
    """Return the common name in the certificate that the worker shows."""
    with context.wrap_socket(connection, server_hostname="localhost") as secured:
        assert secured.selected_alpn_protocol() in (None, "http/1.1")
        certificate = secured.getpeercert()
        assert certificate is not None
        return str(dict(*certificate["subject"])["commonName"])  # type: ignore[misc,arg-type]


def verb(*words: str) -> int:
    return CliRunner().invoke(LazyGroup("vera-worker", lazy=VERBS, lines=HELP), words).exit_code


def test_a_reload_renews_the_certificate_and_drops_no_connection(
    tmp_path: Path, files: TlsFiles
) -> None:
    trust = tls_context(files.authority)
    with WorkerProcess(tmp_path, **settings(files)) as node:
        assert node.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=node.url, verify=trust, trust_env=False) as old:
            old.headers["authorization"] = "Bearer s3cret"
            body = {"payload": {"function": "noop"}}
            submitted = old.post("/task/submit?wait=30", json=body).raise_for_status()
            assert submitted.json()["status"] == "completed"
            assert name_of(trust, connect(node.url)) == "worker"
            files.install("client", "worker")
            Path(files.key("worker")).write_bytes(Path(files.key("renewed")).read_bytes())
            refused = old.post("/admin/reload")
            assert refused.status_code == 422
            assert "is not the key of the certificate" in refused.json()["detail"]
            assert name_of(trust, connect(node.url)) == "worker", "the old one stays in force"
            files.install("renewed", "worker")
            assert old.post("/admin/reload").status_code == 200
            stream = old._transport._pool.connections  # type: ignore[attr-defined]
            assert len(stream) == 1, "all of it went over one connection"
        assert name_of(trust, connect(node.url)) == "renewed"
        assert node.terminate() == 0
        assert "Traceback" not in node.log.read_text()


def test_nothing_but_http_1_over_tls_is_spoken(tmp_path: Path, files: TlsFiles) -> None:
    with WorkerProcess(tmp_path, **settings(files)) as node:
        connect(node.url).close()
        eventually(lambda: _CAME_TO_NOTHING.search(node.log.read_text()), 10, "it is said why")
        with connect(node.url) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP" not in plain.recv(1000)
        with connect(node.url) as both:
            http2 = tls_context(files.authority)
            http2.set_alpn_protocols(["h2", "http/1.1"])
            with http2.wrap_socket(both, server_hostname="localhost") as secured:
                assert secured.selected_alpn_protocol() == "http/1.1"
        with pytest.raises(WorkerUnreachable, match="certificate verify failed"):
            Client(node.url, tls=tls_context()).health()
        assert node.terminate() == 0
        assert "Traceback" not in node.log.read_text()


def test_a_client_must_show_a_certificate_where_authorities_are_named(
    tmp_path: Path, files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"VERA_SERVER__TLS_CLIENT_CA": files.authority}
    with WorkerProcess(tmp_path, **settings(files), **named) as node:
        monkeypatch.setenv("VERA_URL", node.url)
        monkeypatch.setenv("VERA_CACERT", files.authority)
        assert verb("health") == 1
        cert = ("--cert", files.cert("client"), "--key", files.key("client"))
        assert verb("health", *cert) == 0
        assert verb("list", *cert) == 4, "a certificate is no token"
        assert verb("list", *cert, "--token", "s3cret") == 0
        assert verb("health", "--key", files.key("client")) == 2
        assert verb("health", "--cert", "no-such-file") == 2
        assert node.terminate() == 0
        assert "Traceback" not in node.log.read_text()


def test_a_stop_waits_for_no_client(tmp_path: Path, files: TlsFiles) -> None:
    """C1 with TLS: idle, waiting, stalled in a body, and never agreed on TLS."""
    trust = tls_context(files.authority)
    drain = {"VERA_SERVER__DRAIN_TIMEOUT": "1", "MAX_WORKERS": "1"}
    with WorkerProcess(tmp_path, **settings(files), **drain) as node, ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=node.url, verify=trust, trust_env=False))
        client.headers["authorization"] = "Bearer s3cret"
        stubborn = {"payload": {"function": "return_late", "args": [600]}}
        running = client.post("/task/submit", json=stubborn).json()["task_id"]
        until(lambda: client.get(f"/task/{running}").json()["status"] == "running")
        stack.enter_context(connect(node.url))  # says nothing
        for sent in (
            b"",
            b"GET /task/%b?wait=300 HTTP/1.1\r\n" % running.encode(),
            b"POST /task/submit HTTP/1.1\r\nContent-Length: 99\r\n",
        ):
            plain = stack.enter_context(connect(node.url))
            secured = trust.wrap_socket(plain, server_hostname="localhost")
            stack.enter_context(secured)
            secured.sendall(sent + b"Host: x\r\nAuthorization: Bearer s3cret\r\n\r\n" * bool(sent))
        started = time.monotonic()
        assert node.terminate() == 0
        assert 1.0 <= time.monotonic() - started < 1.0 + 2.0 + slack_s()
        eventually(lambda: not node.survivors(), slack_s(), "nothing left behind")
        log = node.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_a_fault_of_the_files_is_one_line_and_no_start(tmp_path: Path, files: TlsFiles) -> None:
    Path(files.key("worker")).chmod(0o644)
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(tmp_path, **settings(files))
    assert failed.value.status == 2
    assert "is open to other users" in failed.value.log.splitlines()[-1]
    assert "Traceback" not in failed.value.log
