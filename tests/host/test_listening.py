"""A Unix socket is for whom it is meant, and nothing else is taken away or written to for it."""

import grp
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vera_supervisor.config import Config, Executor, Server
from vera_supervisor.listening import (
    CannotListen,
    UnfitSocket,
    leave,
    listen,
    most_connections,
    url_of,
)


def at(path: Path, group: str | None = None) -> Config:
    return Config(server=Server(unix_socket=str(path), unix_socket_group=group))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture(autouse=True)
def no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(config: Config) -> str:
    with pytest.raises((CannotListen, UnfitSocket)) as refused:
        listen(config)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_it_is_for_its_user_alone_under_any_umask(path: Path) -> None:
    listener = listen(at(path))
    assert mode(path) == 0o600
    assert url_of(listener, tls=False) == f"unix:{path}"
    leave(listener)
    assert not path.exists()


def test_it_can_be_for_a_group_as_well(path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    listener = listen(at(path, group))
    assert mode(path) == 0o660
    assert path.stat().st_gid == os.getgid()
    leave(listener)
    assert "there is no group 'no-such-group'" in refusal(at(path, "no-such-group"))


def test_what_an_earlier_run_has_left_is_replaced_but_no_other_worker(path: Path) -> None:
    listen(at(path)).close()
    assert path.exists()
    with listen(at(path)):
        assert "another worker listens on" in refusal(at(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.parametrize("plant", ["file", "link", "dangling link", "directory"])
def test_what_is_planted_there_is_refused_and_not_touched(
    path: Path, tmp_path: Path, plant: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if plant == "file":
        path.write_text("precious")
    elif plant == "directory":
        path.mkdir()
    else:
        path.symlink_to(victim if plant == "link" else tmp_path / "nowhere")
    assert "no socket of this user" in refusal(at(path))
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert os.path.lexists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_socket_of_another_user_is_refused(path: Path) -> None:
    listen(at(path)).close()
    os.chown(path, 12345, 12345)
    assert "no socket of this user" in refusal(at(path))


@pytest.mark.parametrize("open_to", [0o777, 0o1777, 0o770])
def test_a_directory_that_others_may_write_to_is_refused(
    path: Path, tmp_path: Path, open_to: int
) -> None:
    tmp_path.chmod(open_to)
    assert "may be written by other users" in refusal(at(path))
    assert not path.exists()


def test_a_path_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(at(tmp_path / "none" / "api.sock"))
    assert "too long" in refusal(at(tmp_path / ("x" * 200)))


@pytest.mark.parametrize(
    ("files", "asked", "executors", "given"),
    [(1024, 1000, 4, 928), (1024, 100, 4, 100), (4096, 1000, 4, 1000), (64, 1000, 4, 16)],
)
def test_connections_leave_files_for_all_else(
    monkeypatch: pytest.MonkeyPatch, files: int, asked: int, executors: int, given: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    config = Config(server=Server(max_connections=asked), executor=Executor(max_workers=executors))
    assert most_connections(config) == given
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert most_connections(config) == asked


def test_who_has_vanished_is_given_up_within_a_minute() -> None:
    """O9: what the kernel is told of each connection; with a cable cut: test_hostile_clients."""
    with (
        listen(Config(server=Server(port=0))) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        silence_s, pause_s, unanswered_ms = (
            accepted.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
        )
    # It is asked after a silence, then at each pause; and is given up at the first one that finds
    # it unanswered for so long.
    assert unanswered_ms > 0
    assert max(silence_s + pause_s, unanswered_ms / 1000) + pause_s < 60
