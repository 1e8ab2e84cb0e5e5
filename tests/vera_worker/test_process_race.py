"""The sweep against a simulated kernel, whose processes fork, exit and move at the worst moments.

The simulation has what makes the real thing hard: a fork under way completes in spite of SIGSTOP,
but not of SIGKILL; orphans move to the root; and the list of children is read entry by entry while
it changes, so that an entry may be skipped when one before it vanishes.
"""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

import pytest

from vera_worker import process_tree

ROOT = 1


class Doing(Enum):
    RUNNING = auto()
    FORKING = auto()
    EXITING = auto()
    STOPPED = auto()


@dataclass
class Process:
    parent: int
    doing: Doing = Doing.RUNNING
    stop_sent: bool = False
    kill_sent: bool = False
    children: list[int] = field(default_factory=list)


class Kernel:
    def __init__(self, seed: int, *, root_forks: bool = False, spare_one: bool = False) -> None:
        self._random = random.Random(seed)
        self._next_pid = ROOT
        self._forks_left = 30
        self._root_forks_left = 300
        self._now = 0.0
        # How many steps the others make meanwhile, and how long a fork takes.
        self._pace = self._random.choice(((0, 0, 0, 1, 1, 2), (0, 1, 3, 8), (0, 0, 1, 2, 8)))
        self._fork_ends = self._random.choice((0.05, 0.1, 0.3))
        self.processes: dict[int, Process] = {}
        root_does = Doing.RUNNING if root_forks else Doing.STOPPED
        self.processes[self._new_pid()] = Process(parent=0, doing=root_does)
        self.spared = {self._add_child(ROOT)} if spare_one else set()
        for _ in range(self._random.randint(1, 4)):
            self._add_child(ROOT)
        self._let_run()

    def children(self, pid: int) -> list[int]:
        """Read the list as the kernel does: the next of the last one, else by position."""
        read: list[int] = []
        while pid in self.processes:
            self._let_run()
            present = self.processes[pid].children if pid in self.processes else []
            goes_on = bool(read) and read[-1] in present
            position = present.index(read[-1]) + 1 if goes_on else len(read)
            if position >= len(present):
                break
            read.append(present[position])
        return read

    def kill(self, pid: int, number: int) -> None:
        self._let_run()
        if pid not in self.processes:
            raise ProcessLookupError
        if number == signal.SIGSTOP:
            self.processes[pid].stop_sent = True
        if number == signal.SIGKILL:
            self.processes[pid].kill_sent = True

    def escaped(self) -> list[int]:
        """Return who lives on: neither killed nor about to exit anyway."""
        return [
            pid
            for pid, process in self.processes.items()
            if not process.kill_sent and process.doing is not Doing.EXITING
            if pid != ROOT and pid not in self.spared
        ]

    def states(self, pid: int) -> set[bytes]:
        self._let_run()
        return {b"T"} if self.processes[pid].doing is Doing.STOPPED else {b"R"}

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._let_run()
        self._step(ROOT)

    def _let_run(self) -> None:
        for _ in range(self._random.choice(self._pace)):
            self._step(self._random.choice(list(self.processes)))

    def _step(self, pid: int) -> None:
        process = self.processes[pid]
        if process.doing is Doing.EXITING or process.kill_sent:
            self._bury(pid)
        elif process.doing is Doing.FORKING:
            if self._random.random() < self._fork_ends:
                self._add_child(pid)
                process.doing = Doing.RUNNING
        elif process.stop_sent:
            process.doing = Doing.STOPPED
        elif process.doing is Doing.STOPPED:
            pass
        elif pid in self.spared:
            if self._random.random() < 0.1:
                process.doing = Doing.EXITING
        elif pid == ROOT:
            if self._root_forks_left > 0:
                self._root_forks_left -= 1
                process.doing = Doing.FORKING
        elif self._forks_left > 0 and not process.children:
            self._forks_left -= 1
            process.doing = Doing.FORKING
        elif process.children and self._random.random() < 0.7:
            process.doing = Doing.EXITING

    def _bury(self, pid: int) -> None:
        if pid == ROOT:  # nobody is left to ask for it
            return
        dead = self.processes[pid]
        root = self.processes[ROOT]
        for orphan in dead.children:
            self.processes[orphan].parent = ROOT
            root.children.append(orphan)
        self.processes[dead.parent].children.remove(pid)
        del self.processes[pid]

    def _add_child(self, parent: int) -> int:
        pid = self._new_pid()
        self.processes[pid] = Process(parent)
        self.processes[parent].children.append(pid)
        return pid

    def _new_pid(self) -> int:
        self._next_pid += 1
        return self._next_pid - 1


SEEDS = [range(first, first + 100) for first in range(0, 600, 100)]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Kernel], None]]:
    """Return a function that puts a kernel in the place of the real one."""
    real_children = process_tree.children

    def install(kernel: Kernel) -> None:
        monkeypatch.setattr(process_tree, "children", kernel.children)
        monkeypatch.setattr(process_tree, "_threads", kernel.states)
        monkeypatch.setattr("vera_worker.process_tree.os.kill", kernel.kill)
        monkeypatch.setattr("vera_worker.process_tree.time.sleep", kernel.sleep)
        monkeypatch.setattr("vera_worker.process_tree.time.monotonic", kernel.monotonic)

    yield install
    monkeypatch.undo()
    assert process_tree.children is real_children


@pytest.mark.parametrize("seeds", SEEDS)
def test_no_descendant_escapes(simulate: Callable[[Kernel], None], seeds: range) -> None:
    for seed in seeds:
        kernel = Kernel(seed)
        simulate(kernel)
        process_tree.kill_descendants(ROOT)
        assert kernel.escaped() == [], seed


@pytest.mark.parametrize("seeds", SEEDS)
def test_nobody_escapes_where_one_is_spared_and_dies(
    simulate: Callable[[Kernel], None], seeds: range
) -> None:
    for seed in seeds:
        kernel = Kernel(seed, spare_one=True)
        simulate(kernel)
        process_tree.kill_descendants(ROOT, spare=kernel.spared)
        assert kernel.escaped() == [], seed
        assert not any(
            kernel.processes[pid].kill_sent for pid in kernel.spared & set(kernel.processes)
        )


@pytest.mark.parametrize("seeds", SEEDS)
def test_nobody_escapes_a_root_that_forks(simulate: Callable[[Kernel], None], seeds: range) -> None:
    for seed in seeds:
        kernel = Kernel(seed, root_forks=True)
        simulate(kernel)
        process_tree.kill_tree(ROOT)
        assert kernel.processes[ROOT].kill_sent
        assert kernel.escaped() == [], seed
