"""How much is in use: of the scarcest of what the worker depends on."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.host.trees import CG, GIB, HOST, MIB, V2_MOUNT, Ticks, host, v1_mounts, write
from vera_supervisor.host import Host
from vera_supervisor.host.processes import tree_cpu_seconds

IN_NAMESPACE = {"/proc/self/cgroup": "0::/\n"}


def stat(busy: dict[int, int], idle: dict[int, int]) -> dict[str, str]:
    """Return /proc/stat with so many ticks of each CPU."""
    lines = [f"cpu{n} {busy[n]} 0 0 {idle[n]} 0 0 0 0 7 7\n" for n in busy]
    return {"/proc/stat": f"cpu 1 2 3 4\n{''.join(lines)}intr 12345\nctxt 5\n"}


def later(seen: Host, ticks: Ticks, *, by: float = 1.0, executors: Iterable[int] = ()) -> Host:
    ticks.now += by
    seen.look(executors)
    return seen


def test_cpu_is_the_busy_share_of_the_cpus_that_we_may_run_on(tmp_path: Path) -> None:
    ticks = Ticks()
    machine = write(tmp_path, HOST, stat({0: 0, 1: 0, 2: 0}, {0: 0, 1: 0, 2: 0}))
    seen = host(machine, cpus=2, now=ticks)
    # The third CPU is busy, and none of ours; guests and what follows are counted elsewhere.
    write(tmp_path, stat({0: 90, 1: 30, 2: 100}, {0: 10, 1: 70, 2: 0}))
    assert later(seen, ticks).usage.cpu_percent == 60.0
    write(tmp_path, stat({0: 90, 1: 30, 2: 100}, {0: 110, 1: 170, 2: 100}))
    assert later(seen, ticks).usage.cpu_percent == 0.0


def process(pid: int, *seconds: float) -> dict[str, str]:
    """Return the file that tells user, system, and the ended children's user and system time."""
    ticks = " ".join(str(round(second * os.sysconf("SC_CLK_TCK"))) for second in seconds)
    return {f"/proc/{pid}/stat": f"{pid} (a) b) S 1 2 3 4 5 6 7 8 9 10 {ticks} 20 0 1"}


ME = os.getpid()
SERVER = 5


def test_the_part_that_we_use_ourselves_is_told_apart(tmp_path: Path) -> None:
    ticks = Ticks()
    before = (process(ME, 1, 0, 0, 0), process(SERVER, 2, 0, 3, 0), process(7, 5, 5, 5, 5))
    machine = write(tmp_path, HOST, stat({0: 0, 1: 0}, {0: 0, 1: 0}), *before)
    seen = host(machine, cpus=2, now=ticks, children={ME: [SERVER]})
    later(seen, ticks, executors=[7])
    write(tmp_path, stat({0: 160, 1: 0}, {0: 40, 1: 200}), process(7, 5.1, 5.2, 5.0, 5.0))
    write(tmp_path, process(ME, 1.1, 0, 0, 0), process(8, 0.2, 0, 0, 0))
    # 8 is new, and 9 is gone already.
    usage = later(seen, ticks, by=2.0, executors=[7, 8, 9]).usage
    assert (usage.cpu_percent, usage.own_cpu_percent) == (40.0, 15.0)
    write(tmp_path, stat({0: 260, 1: 0}, {0: 140, 1: 400}))
    assert later(seen, ticks, by=2.0, executors=[7, 8]).usage.own_cpu_percent == 0.0


def test_what_executors_start_and_those_that_are_gone_are_our_own(tmp_path: Path) -> None:
    ticks = Ticks()
    before = (process(ME, 0, 0, 0, 0), process(SERVER, 0, 0, 0, 0), process(7, 0, 0, 0, 0))
    machine = write(tmp_path, HOST, stat({0: 0, 1: 0}, {0: 0, 1: 0}), *before)
    seen = host(machine, cpus=2, now=ticks, children={ME: [SERVER], 7: [70], 70: [71]})
    later(seen, ticks, executors=[7])
    write(tmp_path, stat({0: 200, 1: 100}, {0: 0, 1: 100}))
    write(tmp_path, process(7, 0.1, 0, 0.5, 0), process(70, 0.2, 0, 0, 0))
    write(tmp_path, process(71, 0.3, 0.1, 0, 0), process(SERVER, 0, 0, 0.6, 0.2))
    usage = later(seen, ticks, by=2.0, executors=[7]).usage
    assert (usage.cpu_percent, usage.own_cpu_percent) == (75.0, 50.0)
    assert usage.executors_cpu_s == {7: pytest.approx(1.2)}


def test_a_fork_bomb_is_looked_at_in_part(tmp_path: Path) -> None:
    machine = write(tmp_path, *(process(pid, 1, 0, 0, 0) for pid in range(200)))
    asked: list[int] = []

    def children(pid: int) -> list[int]:
        asked.append(pid)
        return list(range(1, 200)) if pid == 0 else []

    assert tree_cpu_seconds(machine, 0, children) == 64.0
    assert asked == [0]


def test_half_a_core_that_is_used_up_is_all_in_use_though_the_machine_sleeps(
    tmp_path: Path,
) -> None:
    ticks = Ticks()
    quota = {f"{CG}/cpu.max": "50000 100000", f"{CG}/cpu.stat": "usage_usec 1000000\nx y\n"}
    seen = host(write(tmp_path, HOST, V2_MOUNT, IN_NAMESPACE, quota), now=ticks)
    write(tmp_path, {f"{CG}/cpu.stat": "usage_usec 1200000\n"})
    assert later(seen, ticks).usage.cpu_percent == 40.0
    write(tmp_path, {f"{CG}/cpu.stat": "usage_usec 2000000\n"})
    assert later(seen, ticks).usage.cpu_percent == 100.0


def test_the_same_under_v1(tmp_path: Path) -> None:
    ticks = Ticks()
    group = f"{CG}/cpu,cpuacct"
    files = {
        "/proc/self/cgroup": "2:cpu,cpuacct:/\n",
        f"{group}/cpu.cfs_quota_us": "200000",
        f"{group}/cpu.cfs_period_us": "100000",
        f"{group}/cpuacct.usage": "5000000000",
    }
    seen = host(write(tmp_path, HOST, v1_mounts(), files), now=ticks)
    write(tmp_path, {f"{group}/cpuacct.usage": "6000000000"})
    assert later(seen, ticks).usage.cpu_percent == 50.0


def test_memory_of_the_machine_is_what_is_not_available(tmp_path: Path) -> None:
    usage = host(write(tmp_path, HOST)).usage
    assert (usage.memory_percent, usage.memory_used_mb) == (50.0, 8192.0)


def test_memory_of_a_group_is_its_working_set(tmp_path: Path) -> None:
    group = {
        f"{CG}/memory.max": str(GIB),
        f"{CG}/memory.current": str(900 * MIB),
        f"{CG}/memory.stat": f"anon 1\ninactive_file {131 * MIB}\nactive_file 2\n",
    }
    usage = host(write(tmp_path, HOST, V2_MOUNT, IN_NAMESPACE, group)).usage
    assert (usage.memory_percent, usage.memory_used_mb) == (75.1, 769.0)


def test_the_same_under_v1_memory(tmp_path: Path) -> None:
    group = {
        "/proc/self/cgroup": "4:memory:/\n",
        f"{CG}/memory/memory.limit_in_bytes": str(GIB),
        f"{CG}/memory/memory.usage_in_bytes": str(612 * MIB),
        f"{CG}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {100 * MIB}\n",
    }
    assert host(write(tmp_path, HOST, v1_mounts(), group)).usage.memory_percent == 50.0


def test_a_machine_that_is_full_is_full_however_little_our_group_uses(tmp_path: Path) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 838860 kB\n",
        f"{CG}/memory.max": str(GIB),
        f"{CG}/memory.current": str(10 * MIB),
    }
    usage = host(write(tmp_path, HOST, V2_MOUNT, IN_NAMESPACE, files)).usage
    assert (usage.memory_percent, usage.memory_used_mb) == (95.0, 10.0)


@pytest.mark.parametrize("file", ["/proc/pressure/memory", f"{CG}/memory.pressure"])
def test_pressure_is_the_share_of_the_last_moments(tmp_path: Path, file: str) -> None:
    ticks = Ticks()
    some = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=9.99 total=99\n"
    machine = write(tmp_path, HOST, V2_MOUNT, IN_NAMESPACE, {file: some.format(1000)})
    seen = host(machine, now=ticks)
    assert seen.usage.memory_pressure_percent == 0.0
    write(tmp_path, {file: some.format(251000)})
    assert later(seen, ticks, by=0.5).usage.memory_pressure_percent == 50.0


def test_no_pressure_is_told_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert host(write(tmp_path, HOST)).usage.memory_pressure_percent is None
