"""A fake worker behind a real port, and the client verbs as one program."""

import socket
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from tests.client.fake_worker import FakeServer, FakeWorker
from vera_client.lazy_group import LazyGroup
from vera_client.verbs import HELP, VERBS

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture
def fake(fake_server: FakeServer) -> FakeWorker:
    """A fake worker on a real port, with an empty script."""
    return fake_server.renewed()


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb against the worker at a URL."""
    monkeypatch.delenv("VERA_URL", raising=False)
    monkeypatch.delenv("VERA_TOKEN", raising=False)
    program = LazyGroup("vera-worker", lazy=VERBS, lines=HELP)

    def run(url: str, *words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(program, words, input=stdin, env={"VERA_URL": url})

    return run
