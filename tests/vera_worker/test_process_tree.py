"""Killing trees: whatever a task starts, however it hides, is gone."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import pytest

from vera_worker import process_tree

PATIENCE_S: Final = 60.0

#: The start of every program below: a root to which all its orphans fall.
PRELUDE: Final = """
import os, signal, sys, time
from vera_worker import process_tree
process_tree.become_subreaper()

def fork(body):
    pid = os.fork()
    if pid == 0:
        try:
            body()
            time.sleep(600)
        finally:
            os._exit(0)
    return pid

def nothing():
    pass

def ignore():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def daemon():
    read, write = os.pipe()
    def leader():
        os.setsid()
        os.write(write, str(fork(nothing)).encode())
        os._exit(0)
    os.waitpid(fork(leader), 0)
    return int(os.read(read, 20))

def say(*pids):
    print(*pids, flush=True)
"""


class Root:
    """A process with a tree below it; they all hold one pipe, whose end proves that all died."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program],
            # What measures coverage handles SIGTERM: these are to have the default action.
            env={name: v for name, v in os.environ.items() if not name.startswith("COVERAGE")},
            stdout=subprocess.PIPE,
            bufsize=0,  # what is read must be seen by select() until then
        )
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self.pid = self.process.pid
        self.pids = [int(word) for word in self.read_line().split()]

    def read_line(self) -> bytes:
        assert self.process.stdout is not None
        self._await()
        return self.process.stdout.readline()

    def await_end_of_all(self) -> None:
        self._await()
        assert os.read(self._fd, 1) == b""
        self.process.wait(PATIENCE_S)

    def _await(self) -> None:
        assert select.select([self._fd], [], [], PATIENCE_S)[0], "waited in vain"

    def close(self) -> None:
        if self.process.returncode is None:
            process_tree.kill_tree(self.pid)
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def root() -> Iterator[Callable[[str], Root]]:
    roots: list[Root] = []

    def start(program: str) -> Root:
        roots.append(Root(program))
        return roots[-1]

    yield start
    for each in roots:
        each.close()


def _await_death(pid: int) -> None:
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], PATIENCE_S)[0], f"process {pid} lives"
        finally:
            os.close(fd)


def _alive(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1] not in {b"Z", b"X"}


@pytest.mark.parametrize(
    "grow",
    [
        "fork(nothing)",
        "fork(lambda: fork(lambda: fork(nothing)))",
        "fork(os.setsid)",
        "fork(ignore)",
        "daemon()",
        "fork(daemon)",
        "os.kill(fork(nothing), signal.SIGSTOP)",
        "[f() for f in (daemon, lambda: fork(ignore), lambda: fork(daemon))]",
    ],
)
def test_a_tree_is_killed_whole(root: Callable[[str], Root], grow: str) -> None:
    tree = root(f"{grow}; say(); time.sleep(600)")
    process_tree.kill_tree(tree.pid)
    tree.await_end_of_all()
    assert tree.process.returncode == -signal.SIGKILL


def test_a_tree_that_grows_while_it_is_killed_is_killed_whole(root: Callable[[str], Root]) -> None:
    """It forks without pause, 300 processes at most, each in a session of its own."""
    bomb = root("""
tokens, put = os.pipe()
os.write(put, bytes(300))
os.close(put)
def explode():
    os.setsid()
    while os.read(tokens, 1):
        fork(explode)
        say()
fork(explode)
time.sleep(600)
""")
    process_tree.kill_tree(bomb.pid)
    while bomb.process.poll() is None or bomb.read_line():
        pass
    bomb.await_end_of_all()


def test_processes_on_the_run_are_caught(root: Callable[[str], Root]) -> None:
    """Each forks and exits, and so does its child, again and again: no pid lives for long."""
    tree = root("""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def run():
    os.setsid()
    for _ in range(2000):  # seconds, if it gets away
        if os.fork():
            os._exit(0)
for _ in range(4):
    fork(run)
say()
time.sleep(600)
""")
    process_tree.kill_tree(tree.pid)
    tree.await_end_of_all()


def test_the_root_itself_is_left_alone_when_only_its_descendants_are_meant(
    root: Callable[[str], Root],
) -> None:
    tree = root("""
say(fork(ignore), daemon())
process_tree.kill_descendants(os.getpid())
say(os.getpid())
time.sleep(600)
""")
    assert int(tree.read_line()) == tree.pid
    for pid in tree.pids:
        _await_death(pid)


def test_the_number_of_the_killed_is_returned(root: Callable[[str], Root]) -> None:
    tree = root("daemon(); fork(nothing); say(process_tree.kill_descendants(os.getpid()))")
    assert tree.pids == [2]


def test_a_spared_child_lives_on_with_all_below_it(root: Callable[[str], Root]) -> None:
    tree = root("""
read, write = os.pipe()
spared = fork(lambda: os.write(write, str(fork(nothing)).encode()))
grandchild = int(os.read(read, 20))
say(spared, grandchild, fork(nothing))
time.sleep(600)
""")
    spared, grandchild, other = tree.pids
    assert process_tree.kill_descendants(tree.pid, spare={spared}) == 1
    _await_death(other)
    assert _alive(spared)
    assert _alive(grandchild)


def test_a_signal_goes_to_all_descendants_and_not_to_the_root(root: Callable[[str], Root]) -> None:
    tree = root("""
say(fork(nothing), daemon())
for _ in range(2):
    os.wait()
say()
time.sleep(600)
""")
    process_tree.signal_descendants(tree.pid, signal.SIGTERM)
    tree.read_line()
    assert _alive(tree.pid)


def test_descendants_come_parents_first(root: Callable[[str], Root]) -> None:
    tree = root("""
read, write = os.pipe()
child = fork(lambda: os.write(write, str(fork(nothing)).encode()))
say(child, int(os.read(read, 20)))
time.sleep(600)
""")
    assert process_tree.children(tree.pid) == tree.pids[:1]
    assert process_tree.descendants(tree.pid) == tree.pids


def test_children_of_all_threads_are_found(root: Callable[[str], Root]) -> None:
    tree = root("""
import subprocess, threading
started = []
def start():
    started.append(subprocess.Popen(["sleep", "600"]).pid)
    say(*started)
    time.sleep(600)
threading.Thread(target=start).start()
""")
    assert process_tree.children(tree.pid) == tree.pids


def test_a_process_that_may_not_be_killed_does_not_save_the_others(
    root: Callable[[str], Root], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task may start a set-uid program."""
    tree = root("say(fork(nothing), fork(nothing)); time.sleep(600)")
    untouchable, other = tree.pids
    kill = os.kill

    def refuse(pid: int, number: int) -> None:
        if pid == untouchable:
            raise PermissionError(1, "Operation not permitted")
        kill(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    process_tree.kill_descendants(tree.pid)
    monkeypatch.undo()
    _await_death(other)
    assert _alive(untouchable)


def test_what_is_gone_already_is_no_error() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait(PATIENCE_S)
    assert process_tree.children(process.pid) == []
    assert process_tree.descendants(process.pid) == []
    process_tree.kill_tree(process.pid)


def test_orphans_fall_to_the_subreaper(root: Callable[[str], Root]) -> None:
    tree = root("say(daemon()); time.sleep(600)")
    assert process_tree.children(tree.pid) == tree.pids


def test_a_bound_process_dies_with_its_parent(root: Callable[[str], Root]) -> None:
    tree = root("""
def bound():
    process_tree.die_with_parent()
    say(os.getpid())
fork(bound)
time.sleep(600)
""")
    os.kill(tree.pid, signal.SIGKILL)
    tree.await_end_of_all()


def test_a_refused_prctl_is_an_error() -> None:
    with pytest.raises(OSError, match=r"prctl\(-1\)"):
        process_tree._prctl(-1, 0)


_PRIVATE: Final = """
import os, sys
from vera_worker import process_tree
if os.geteuid() == 0:
    os.setuid(65534)
    process_tree._prctl(4, 1)  # PR_SET_DUMPABLE, which a change of the user takes away
if sys.argv[1] == "private":
    process_tree.keep_private()
pid = os.fork()
if not pid:
    for name in ("environ", "mem"):
        try:
            open(f"/proc/{os.getppid()}/{name}", "rb").close()
            print(name)
        except PermissionError:
            pass
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(("how", "open_"), [("private", ""), ("plain", "environ\nmem\n")])
def test_a_private_process_is_closed_to_others_of_its_user(how: str, open_: str) -> None:
    command = [sys.executable, "-c", _PRIVATE, how]
    seen = subprocess.run(command, capture_output=True, text=True, check=True)
    assert seen.stdout == open_
