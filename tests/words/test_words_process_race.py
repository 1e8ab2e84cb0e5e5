"""The sweep against a simulated kernel, whose processes fork, exit and move at the worst moments.

The simulation has what makes the real thing hard: a fork under way completes in spite of SIGSTOP,
but not of SIGKILL; orphans move to the root; and the list of children is read entry by entry while
it changes, so that an entry may be skipped when one before it vanishes.
"""

import random
import signal
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
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._next_pid = ROOT
        self._forks_left = 30
        # How many steps the others make meanwhile, and how long a fork takes.
        self._pace = self._random.choice(((0, 0, 0, 1, 1, 2), (0, 1, 3, 8), (0, 0, 1, 2, 8)))
        self._fork_ends = self._random.choice((0.05, 0.1, 0.3))
        self.processes: dict[int, Process] = {}
        self.processes[self._new_pid()] = Process(parent=0, doing=Doing.STOPPED)
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
            if pid != ROOT and not process.kill_sent and process.doing is not Doing.EXITING
        ]

    def _let_run(self) -> None:
        for _ in range(self._random.choice(self._pace)):
            if len(self.processes) > 1:
                self._step(self._random.choice(list(self.processes)[1:]))

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
        elif self._forks_left > 0 and not process.children:
            self._forks_left -= 1
            process.doing = Doing.FORKING
        elif process.children and self._random.random() < 0.7:
            process.doing = Doing.EXITING

    def _bury(self, pid: int) -> None:
        dead = self.processes[pid]
        root = self.processes[ROOT]
        for orphan in dead.children:
            self.processes[orphan].parent = ROOT
            root.children.append(orphan)
        self.processes[dead.parent].children.remove(pid)
        del self.processes[pid]

    def _add_child(self, parent: int) -> None:
        pid = self._new_pid()
        self.processes[pid] = Process(parent)
        self.processes[parent].children.append(pid)

    def _new_pid(self) -> int:
        self._next_pid += 1
        return self._next_pid - 1


def _escaped(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    kernel = Kernel(seed)
    monkeypatch.setattr(process_tree, "children", kernel.children)
    monkeypatch.setattr("vera_worker.process_tree.os.kill", kernel.kill)
    process_tree.kill_descendants(ROOT)
    monkeypatch.undo()
    return kernel.escaped()


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_nobody_escapes(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(first, first + 20)
    assert {seed: pids for seed in seeds if (pids := _escaped(seed, monkeypatch))} == {}
