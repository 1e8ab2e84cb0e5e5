"""What the files of a control group say about a task and its limit (L1), on paper."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vera_supervisor.pool.memory import LegacyMemory, Look, Sampled, UnifiedMemory

MIB = 2**20
LIMIT = 64 * MIB


class Paper:
    """A directory that looks like a control group."""

    def __init__(self, directory: Path, **files: object) -> None:
        self._directory = directory
        for name, text in files.items():
            self.write(name, text)

    def write(self, name: str, text: object) -> None:
        (self._directory / name.replace("__", ".")).write_text(f"{text}\n")

    def read(self, name: str) -> str:
        return (self._directory / name).read_text().strip()


@pytest.fixture
def v2(tmp_path: Path) -> tuple[Paper, UnifiedMemory]:
    paper = Paper(
        tmp_path,
        memory__events="low 0\nhigh 0\nmax 0\noom 0\noom_kill 0",
        memory__current=10 * MIB,
        memory__peak=LIMIT - 4096,
        memory__swap__max="max",
    )
    return paper, UnifiedMemory(tmp_path)


@pytest.fixture
def v1(tmp_path: Path) -> tuple[Paper, LegacyMemory]:
    paper = Paper(
        tmp_path,
        memory__oom_control="oom_kill_disable 1\nunder_oom 0\noom_kill 0",
        memory__failcnt=0,
        memory__max_usage_in_bytes=LIMIT,
        cgroup__procs=os.getpid(),
    )
    return paper, LegacyMemory(tmp_path)


def test_a_group_of_v2_dies_as_a_whole_and_does_not_swap(v2: tuple[Paper, UnifiedMemory]) -> None:
    paper, memory = v2
    assert (paper.read("memory.oom.group"), paper.read("memory.swap.max")) == ("1", "0")
    memory.limit(LIMIT)
    assert int(paper.read("memory.max")) == LIMIT
    assert int(paper.read("memory.high")) == LIMIT * 7 // 8
    memory.limit(None)
    assert (paper.read("memory.max"), paper.read("memory.high")) == ("max", "max")
    assert memory.look() == Look()


def test_near_its_limit_it_is_slowed_down_once_until_it_was_looked_at(
    v2: tuple[Paper, UnifiedMemory],
) -> None:
    paper, memory = v2
    memory.limit(LIMIT)
    assert memory.look() == Look()
    paper.write("memory__events", "high 3\noom 0\noom_kill 0")
    paper.write("memory__current", LIMIT * 9 // 10)
    assert memory.look() == Look(near=True)
    assert paper.read("memory.high") == "max"
    assert memory.look() == Look()
    paper.write("memory__current", LIMIT // 2)
    memory.look()
    assert int(paper.read("memory.high")) == LIMIT * 7 // 8


def test_a_look_may_find_the_group_gone(v2: tuple[Paper, UnifiedMemory], tmp_path: Path) -> None:
    """Its process has ended between the two: who looks at others must go on."""
    paper, memory = v2
    memory.limit(LIMIT)
    paper.write("memory__events", "high 3\noom 0\noom_kill 0")
    assert memory.look() == Look(near=True)
    shutil.rmtree(tmp_path)
    assert memory.look() == Look()


def test_a_kill_counts_only_where_the_group_itself_was_at_its_limit(
    v2: tuple[Paper, UnifiedMemory],
) -> None:
    paper, memory = v2
    memory.limit(LIMIT)
    paper.write("memory__events", "high 0\noom 0\noom_kill 1")
    assert memory.killed() is None, "the machine was short of memory, not the task"
    paper.write("memory__events", "high 0\noom 1\noom_kill 1")
    assert memory.killed() == LIMIT - 4096
    assert memory.look() == Look(LIMIT - 4096)


def test_what_stands_at_the_limit_of_v1_has_exceeded_it(v1: tuple[Paper, LegacyMemory]) -> None:
    paper, memory = v1
    assert paper.read("memory.oom_control").startswith("1"), "asked to stop, and not to kill"
    paper.write("memory__oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0")
    memory.limit(LIMIT)
    assert int(paper.read("memory.limit_in_bytes")) == LIMIT
    assert memory.look() == Look()
    paper.write("memory__oom_control", "oom_kill_disable 1\nunder_oom 1\noom_kill 0")
    assert memory.look() == Look(LIMIT)


def test_it_goes_on_alone_to_write_its_stack_and_is_not_reported_twice(
    v1: tuple[Paper, LegacyMemory],
) -> None:
    paper, memory = v1
    memory.limit(LIMIT)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        paper.write("cgroup__procs", f"{os.getpid()}\n{other.pid}")
        paper.write("memory__oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0")
        memory.relent(os.getpid())
        assert int(paper.read("memory.limit_in_bytes")) == LIMIT, "it was not at its limit"
        paper.write("memory__oom_control", "oom_kill_disable 1\nunder_oom 1\noom_kill 0")
        memory.relent(os.getpid())
        assert os.waitpid(other.pid, os.WUNTRACED)[1] & 0xFF == 0x7F, "it is stopped"
        other.kill()
    assert int(paper.read("memory.limit_in_bytes")) > LIMIT
    assert memory.look() == Look()


def test_a_kernel_that_kills_all_the_same_is_noticed(v1: tuple[Paper, LegacyMemory]) -> None:
    paper, memory = v1
    memory.limit(LIMIT)
    paper.write("memory__oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1")
    assert memory.killed() is None, "the machine was short of memory, not the task"
    paper.write("memory__failcnt", 7)
    assert memory.look() == Look(LIMIT)


def test_without_groups_a_process_is_measured() -> None:
    memory = Sampled(os.getpid())
    assert memory.look() == Look()
    memory.limit(MIB)
    excess = memory.look().excess_bytes
    assert excess is not None
    assert excess > 8 * MIB
    memory.limit(2**40)
    assert memory.look() == Look()
    assert memory.killed() is None
