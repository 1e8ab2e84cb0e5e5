"""No process outlives its task, its executor or its supervisor; and bad bytes cost one executor."""

import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import (
    MAX_PAYLOAD_BYTES,
    MAX_RESULT_BYTES,
    SAMPLES,
    Child,
    StandIn,
    Watched,
    watching,
)
from vera_executor import main
from vera_worker import process_tree, wire
from vera_worker.errors import FrameError
from vera_worker.framing import encode_frame


def _gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def _await_trouble(child: Child, function: str) -> None:
    match function:
        case "stop_self":  # it shows no stack
            child.await_status(r"^State:\tT")
        case "hang_blocking_signals":  # nor does it
            child.await_status(r"^SigBlk:\tf")
        case "fork_bomb":
            child.stack_in("explode")
        case _:
            child.stack_in(function)


def test_an_executor_goes_before_others_when_memory_runs_out(child: Child) -> None:
    assert int(Path(f"/proc/{child.pid}/oom_score_adj").read_text()) >= main.OOM_SCORE


def test_an_executor_and_what_it_starts_give_way_where_processors_are_scarce(start: Start) -> None:
    child = start(*SAMPLES, nice=3)
    child.ready()
    nice = os.getpriority(os.PRIO_PROCESS, 0) + 3
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == nice
    session = Path(f"/proc/{child.pid}/autogroup")
    if os.geteuid() == 0 and session.exists():  # others may set it ten times a second only
        assert session.read_text().endswith(f"nice {nice}\n")


# After the task


def test_a_daemon_is_dead_before_the_answer_is_sent(child: Child) -> None:
    assert _gone(child.call("spawn_daemon", 600))


def test_a_whole_tree_is_dead_before_the_answer_is_sent(child: Child) -> None:
    pids = child.call("spawn_tree", depth=2, width=2, hang=False)
    assert len(pids) == 34
    assert [pid for pid in pids if not _gone(pid)] == []


def test_leftovers_of_a_task_that_failed_are_dead_before_the_answer_is_sent(child: Child) -> None:
    child.failure("spawn_and_fail")
    pids = [int(word) for word in child.printed().split()]
    assert len(pids) == 2
    assert [pid for pid in pids if not _gone(pid)] == []


def test_a_process_that_a_task_module_started_is_spared(start: Start, tmp_path: Path) -> None:
    (tmp_path / "helped_tasks.py").write_text(
        "import subprocess\n"
        "helper = subprocess.Popen(['sleep', '600'])\n"
        "def helper_pid(): return helper.pid\n"
        "def helper_runs(): return helper.poll() is None\n"
    )
    child = start("helped_tasks", "vera_executor.demo_faults", path=tmp_path)
    child.ready()
    with watching(child.call("helper_pid")) as (helper,):
        assert _gone(child.call("spawn_daemon", 600))
        assert child.call("helper_runs") is True
        child.send(wire.Retire())
        assert child.await_exit() == 0
        helper.await_death()


# With the link


def test_the_end_of_the_link_ends_an_idle_executor(child: Child) -> None:
    child.link.close()
    assert child.await_exit() == 0


def test_the_end_of_the_link_ends_a_task_that_looks_and_all_that_it_started(child: Child) -> None:
    child.assign("spawn_and_wait_for_stop")
    with watching(*map(int, child.await_line().split())) as processes:
        child.link.shutdown(socket.SHUT_WR)
        assert child.await_exit() == 0
        for process in processes:
            process.await_death()


@pytest.mark.parametrize(
    "alien",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!II", MAX_PAYLOAD_BYTES + wire.ENVELOPE_BYTES + 1, 0),
        encode_frame(b"not msgpack"),
        encode_frame(b""),
        wire.pack(wire.Pong()),
        wire.pack(wire.Ping())[:-1] + b"\0",
    ],
    ids=["garbage", "oversized", "no message", "empty", "wrong direction", "corrupt"],
)
def test_bytes_that_are_no_message_end_the_executor(child: Child, alien: bytes) -> None:
    child.link.sendall(alien)
    assert child.receive() is None
    assert child.await_exit() == 0


def test_a_torn_frame_ends_the_executor_when_the_link_ends(child: Child) -> None:
    child.link.sendall(wire.pack(wire.Ping())[:-1])
    child.link.shutdown(socket.SHUT_WR)
    assert child.receive() is None
    assert child.await_exit() == 0


# By its own hand


@pytest.mark.parametrize(
    ("function", "status"),
    [("segfault", -signal.SIGSEGV), ("kill_self", -signal.SIGKILL), ("os_exit", 3)],
)
def test_a_task_that_kills_its_process_is_seen_by_the_exit(
    child: Child, function: str, status: int
) -> None:
    assert child.run(function) is None
    assert child.await_exit() == status


def test_an_executor_without_its_descriptors_leaves(child: Child) -> None:
    assert child.run("close_all_fds") is None
    assert child.await_exit() == 0


def test_an_executor_whose_stdout_is_no_more_leaves_all_the_same(child: Child) -> None:
    child.assign("spoil_stdout_and_wait_for_stop")
    child.await_line()
    child.link.shutdown(socket.SHUT_WR)
    assert child.await_exit() == 0


def test_garbage_from_a_task_is_no_frame(child: Child) -> None:
    with pytest.raises(FrameError, match="exceeds the limit"):
        child.run("garbage_frame")


@pytest.mark.parametrize("at_byte", [1, 7, 8, 500])
def test_a_torn_answer_is_no_answer(child: Child, at_byte: int) -> None:
    assert child.run("torn_frame", at_byte) is None
    assert child.torn_bytes == at_byte
    assert child.await_exit() == -signal.SIGKILL
    assert at_byte < MAX_RESULT_BYTES


# From outside


@pytest.mark.parametrize(
    "function",
    [
        "hang_in_c",
        "hang_holding_gil",
        "hang_in_regex",
        "hang_blocking_signals",
        "busy_loop",
        "stop_self",
        "fork_bomb",
    ],
)
def test_whatever_a_task_does_it_can_be_killed(child: Child, function: str) -> None:
    child.assign(function)
    _await_trouble(child, function)
    process_tree.kill_tree(child.pid)
    assert child.await_exit() == -signal.SIGKILL


def test_orphans_of_a_killed_executor_fall_to_the_fork_server(
    child: Child, stand_in: StandIn
) -> None:
    child.assign("spawn_tree", depth=0)
    pids = [int(word) for word in child.await_line().split()]
    os.kill(child.pid, signal.SIGKILL)
    assert child.await_exit() == -signal.SIGKILL
    assert set(pids) <= set(process_tree.children(stand_in.server_pid))
    with watching(*pids) as processes:
        process_tree.kill_descendants(stand_in.server_pid)
        for process in processes:
            process.await_death()


def test_a_kill_of_the_supervisor_ends_everything() -> None:
    """Even what holds the interpreter, blocks all signals, or has left the process group."""
    with StandIn("vera_executor.demo_faults") as stand_in:
        processes: list[Watched] = []
        for function in ("hang_holding_gil", "hang_blocking_signals", "spawn_tree", "stop_self"):
            child = stand_in.start("vera_executor.demo_faults", "vera_executor.demo")
            child.ready()
            child.assign(function)
            processes.append(Watched(child.pid))
            if function == "spawn_tree":
                processes += [Watched(int(word)) for word in child.await_line().split()]
            else:
                _await_trouble(child, function)
        processes.append(Watched(stand_in.server_pid))
        assert len(processes) == 10
        stand_in.kill()
        for process in processes:
            process.await_death()
            process.close()


def test_a_kill_of_the_fork_server_ends_all_executors() -> None:
    with StandIn() as stand_in:
        child = stand_in.start("vera_executor.demo_faults")
        child.ready()
        child.assign("hang_holding_gil")
        child.stack_in("hang_holding_gil")
        with watching(child.pid) as (executor,):
            os.kill(stand_in.server_pid, signal.SIGKILL)
            executor.await_death()


def test_modules_that_cannot_be_preloaded_do_not_harm_the_fork_server(tmp_path: Path) -> None:
    (tmp_path / "exiting_tasks.py").write_text("import sys; sys.exit(1)\n")
    with StandIn("no_such_module", "exiting_tasks", "sample_tasks", path=tmp_path) as stand_in:
        child = stand_in.start("sample_tasks")
        child.ready()
        imported_by, parent = child.call("imported_by")
        assert imported_by == parent == stand_in.server_pid
