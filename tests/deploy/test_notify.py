"""What the service manager is told, by the real worker and by the notifier alone."""

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.fakes.on_loop import on_loop
from tests.support.patience import assert_ready
from tests.support.worker_process import MARK, WorkerProcess, marked_environments, worker
from vera_supervisor.health import PoolSigns, Signs, makes_progress
from vera_supervisor.housekeeping import feed_watchdog
from vera_supervisor.notify import Notifier

_PATIENCE_S = 60


class Manager:
    """Stands in for systemd: takes the datagrams that it is sent as they come.

    Else the kernel would keep a few, and the worker lose what it says after them.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._came = SimpleQueue[list[str]]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while datagram := self._socket.recv(4096):
            self._came.put(datagram.decode().splitlines())

    def _send(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, self._address)

    def next(self) -> list[str]:
        return self._came.get(timeout=_PATIENCE_S)

    def heard(self) -> list[list[str]]:
        """Return what was sent so far and not read yet."""
        self._send(b"FENCE=1")
        return list(iter(self.next, ["FENCE=1"]))

    def until(self, line: str) -> list[str]:
        while line not in (lines := self.next()):
            pass
        return lines

    def close(self) -> None:
        self._send(b"")
        self._reader.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as heard:
        yield heard


def signs(**differing: object) -> Signs:
    fields: dict[str, object] = {
        "draining": False,
        "loop_lag_s": 0.0,
        "pools": (PoolSigns(name="default", serving=1, min_workers=1, failed_starts=0),),
        "busy_executors": 0,
        "quiet_s": 0.0,
        "check_interval_s": 10.0,
        "queue_full": False,
        "store_fault": None,
    }
    return Signs(**(fields | differing))  # type: ignore[arg-type]


@pytest.mark.system
def test_a_worker_tells_when_it_is_ready_alive_and_stopping(
    tmp_path: Path, manager: Manager
) -> None:
    settings = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with worker(tmp_path, **settings, VERA_SERVER__DRAIN_TIMEOUT="7") as node:
        assert manager.until("READY=1") == ["READY=1", f"STATUS=takes tasks on {node.url}"]
        # Not a moment later: what it is told, holds.
        assert_ready(node)
        assert node.submit("noop", wait=60)["status"] == "completed"
        manager.until("WATCHDOG=1")
        node.process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"MONOTONIC_USEC=[1-9]\d+", manager.until("RELOADING=1")[1])
        assert manager.until("READY=1") == ["READY=1", "STATUS=reloaded"]
        assert not inherited(node)
        assert node.terminate() == 0
        assert manager.until("STOPPING=1") == [
            "STOPPING=1",
            "STATUS=draining for at most 7 s",
            "EXTEND_TIMEOUT_USEC=17000000",
        ]


@pytest.mark.system
def test_a_reload_is_over_when_the_new_code_has_been_tried(
    tmp_path: Path, manager: Manager
) -> None:
    module, gate = tmp_path / "told_module.py", tmp_path / "gate"
    module.write_text("def noop(): pass\n")
    settings = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONPATH": str(tmp_path)}
    with WorkerProcess(tmp_path, modules="told_module", **settings) as node:
        manager.until("READY=1")
        os.mkfifo(gate)
        module.write_text(f"open({str(gate)!r}).close()\ndef noop_2(): pass\n")
        node.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        with gate.open("w"):  # it is being imported
            assert [said for said in manager.heard() if "READY=1" in said] == []
        assert manager.until("READY=1") == ["READY=1", "STATUS=reloaded"]
        assert node.submit("noop_2", wait=60)["status"] == "completed"
        module.write_text("this is no Python\n")
        node.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        status = manager.until("READY=1")[1]
        assert status.startswith("STATUS=not reloaded: task module 'told_module' cannot be loaded")
        assert node.submit("noop_2", wait=60)["status"] == "completed"


@pytest.mark.system
def test_ready_is_said_when_a_task_would_start_and_not_before(
    tmp_path: Path, manager: Manager
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # A module that takes its time: until the other end of the pipe is there.
    (tmp_path / "slow_module.py").write_text(f"open({str(gate)!r}).close()\ndef noop(): pass\n")
    settings = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONPATH": str(tmp_path)}
    with ThreadPoolExecutor() as threads:
        starting = threads.submit(WorkerProcess, tmp_path, modules="slow_module", **settings)
        with gate.open("w"):  # it waits for that
            early = manager.heard()
        with starting.result() as node:
            assert early == []
            manager.until("READY=1")
            assert_ready(node)
            assert node.submit("noop", wait=60)["status"] == "completed"


@on_loop
async def test_the_watchdog_is_fed_only_while_the_worker_makes_progress(
    tmp_path: Path, manager: Manager
) -> None:
    class Enough(Exception):
        pass

    well = [True, False, False, True]
    notifier = Notifier(str(tmp_path / "notify"), watchdog_s=0.001)

    def makes_progress() -> bool:
        if not well:
            raise Enough
        return well.pop()

    with pytest.raises(Enough):
        await feed_watchdog(notifier, makes_progress)
    assert manager.heard() == [["WATCHDOG=1"]] * 2


def inherited(node: WorkerProcess) -> list[bytes]:
    """Return the manager's variables in the environments of the worker's other processes."""
    others = [
        environment
        for pid, environment in marked_environments(MARK, node.mark)
        if pid != node.process.pid
    ]
    assert others
    return [v for v in chain(*others) if v.startswith((b"NOTIFY_", b"WATCHDOG_"))]


def test_an_abstract_address() -> None:
    name = f"vera-test-{os.getpid()}"
    with closing(Manager(f"\0{name}")) as heard:
        Notifier(f"@{name}").alive()
        assert heard.next() == ["WATCHDOG=1"]


def test_a_status_is_one_line(tmp_path: Path, manager: Manager) -> None:
    Notifier(str(tmp_path / "notify")).ready("well\nMAINPID=1")
    assert manager.next() == ["READY=1", "STATUS=well MAINPID=1"]


@pytest.mark.parametrize("address", [None, "", "relative", "/not/there", "/" + 200 * "x", "/\0"])
def test_nobody_to_tell_is_no_fault(address: str | None) -> None:
    Notifier(address).ready("well")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("3000000", None, 3.0),
        pytest.param("3000000", str(os.getpid()), 3.0, id="this-process"),
        ("3000000", "1", None),
        ("0", None, None),
        ("often", None, None),
        (None, None, None),
    ],
)
def test_whose_watchdog_it_is(usec: str | None, pid: str | None, seconds: float | None) -> None:
    given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid, "OTHER": "kept"}
    environ = {name: value for name, value in given.items() if value is not None}
    assert Notifier.from_environment(environ).watchdog_s == seconds
    assert environ == {"OTHER": "kept"}


@pytest.mark.parametrize(
    "differing",
    [
        {"queue_full": True},
        {"store_fault": "the disk is full"},
        {"store_silent_s": 59.0},
        {"pools": (PoolSigns(name="default", serving=0, min_workers=1, failed_starts=5),)},
        {"busy_executors": 1, "quiet_s": 1000.0},
        {"draining": True, "quiet_s": 1000.0},
    ],
)
def test_what_a_restart_would_not_help(differing: dict[str, object]) -> None:
    assert makes_progress(signs(**differing))


@pytest.mark.parametrize(
    "differing",
    [
        {"loop_lag_s": 1.1},
        {"draining": True, "loop_lag_s": 1.1},
        {"quiet_s": 20.1},
        {"store_silent_s": 60.1},
    ],
)
def test_what_a_restart_helps(differing: dict[str, object]) -> None:
    assert not makes_progress(signs(**differing))


@pytest.mark.parametrize("address", ["/no/such/socket", "/" + "x" * 200, "/\udcff", "@nobody"])
def test_a_manager_that_cannot_be_reached_does_no_harm(address: str) -> None:
    Notifier(address).ready("takes tasks")
