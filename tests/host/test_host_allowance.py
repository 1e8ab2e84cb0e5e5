"""What a worker may use, on machines and in containers of every kind (L3)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from tests.host.trees import CG, GIB, HOST, MIB, UNLIMITED_V1, V2_MOUNT, host, v1_mounts, write
from vera_supervisor.host.allowance import cpu_list

SERVICE = f"{CG}/system.slice/vera.service"
IN_SERVICE = {"/proc/self/cgroup": "0::/system.slice/vera.service\n"}
IN_NAMESPACE = {"/proc/self/cgroup": "0::/\n"}
DOCKER_V1 = {
    "/proc/self/cgroup": "4:memory:/docker/c1\n3:cpuset:/docker/c1\n2:cpu,cpuacct:/docker/c1\n"
}
HYBRID_MOUNTS = {
    "/proc/self/mountinfo": v1_mounts()["/proc/self/mountinfo"]
    + f"41 25 0:38 / {CG}/unified rw - cgroup2 cgroup2 rw\n"
}

MACHINES = {
    "no control groups at all": ([{}], 8.0, 16 * GIB),
    "v2, all is max": (
        [
            V2_MOUNT,
            IN_SERVICE,
            {f"{SERVICE}/cpu.max": "max 100000\n", f"{SERVICE}/memory.max": "max"},
        ],
        8.0,
        16 * GIB,
    ),
    "v2, a service with limits": (
        [
            V2_MOUNT,
            IN_SERVICE,
            {f"{SERVICE}/cpu.max": "250000 100000", f"{SERVICE}/memory.max": str(GIB)},
        ],
        2.5,
        GIB,
    ),
    "v2, the slice above is the tighter one": (
        [
            V2_MOUNT,
            IN_SERVICE,
            {
                f"{SERVICE}/cpu.max": "250000 100000",
                f"{SERVICE}/memory.max": str(2 * GIB),
                f"{CG}/system.slice/cpu.max": "150000 100000",
                f"{CG}/system.slice/memory.max": str(GIB),
            },
        ],
        1.5,
        GIB,
    ),
    "v2, memory.high slows down before memory.max kills": (
        [
            V2_MOUNT,
            IN_SERVICE,
            {f"{SERVICE}/memory.max": str(2 * GIB), f"{SERVICE}/memory.high": str(GIB)},
        ],
        8.0,
        GIB,
    ),
    "v2, a container with half a core": (
        [
            V2_MOUNT,
            IN_NAMESPACE,
            {f"{CG}/cpu.max": "50000 100000", f"{CG}/memory.max": str(512 * MIB)},
        ],
        0.5,
        512 * MIB,
    ),
    "v2, a container on two of the cores": (
        [V2_MOUNT, IN_NAMESPACE, {f"{CG}/cpuset.cpus.effective": "2-3"}],
        2.0,
        16 * GIB,
    ),
    "v2, a limit above what the machine has": (
        [
            V2_MOUNT,
            IN_NAMESPACE,
            {f"{CG}/cpu.max": "9900000 100000", f"{CG}/memory.max": str(64 * GIB)},
        ],
        8.0,
        16 * GIB,
    ),
    "v1, a container that sees its own part of the tree": (
        [
            v1_mounts("/docker/c1"),
            DOCKER_V1,
            {
                f"{CG}/cpu,cpuacct/cpu.cfs_quota_us": "50000",
                f"{CG}/cpu,cpuacct/cpu.cfs_period_us": "100000",
                f"{CG}/memory/memory.limit_in_bytes": str(512 * MIB),
                f"{CG}/cpuset/cpuset.effective_cpus": "0-3",
            },
        ],
        0.5,
        512 * MIB,
    ),
    "v1, the whole tree, a limit halfway up": (
        [
            v1_mounts(),
            DOCKER_V1,
            {
                f"{CG}/cpu,cpuacct/docker/c1/cpu.cfs_quota_us": "-1",
                f"{CG}/cpu,cpuacct/docker/c1/cpu.cfs_period_us": "100000",
                f"{CG}/cpu,cpuacct/docker/cpu.cfs_quota_us": "300000",
                f"{CG}/cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
                f"{CG}/memory/docker/c1/memory.limit_in_bytes": UNLIMITED_V1,
                f"{CG}/memory/docker/memory.limit_in_bytes": str(GIB),
            },
        ],
        3.0,
        GIB,
    ),
    "v1, no limits": (
        [
            v1_mounts(),
            DOCKER_V1,
            {
                f"{CG}/cpu,cpuacct/docker/c1/cpu.cfs_quota_us": "-1",
                f"{CG}/memory/docker/c1/memory.limit_in_bytes": UNLIMITED_V1,
            },
        ],
        8.0,
        16 * GIB,
    ),
    "hybrid: limits are v1's, the unified hierarchy only groups": (
        [
            HYBRID_MOUNTS,
            {"/proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a\n0::/system.slice\n"},
            {
                f"{CG}/memory/a/memory.limit_in_bytes": str(GIB),
                f"{CG}/cpu,cpuacct/a/cpu.cfs_quota_us": "100000",
                f"{CG}/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                f"{CG}/unified/system.slice/cgroup.procs": "1",
            },
        ],
        1.0,
        GIB,
    ),
    "the group is outside of what the container sees": (
        [V2_MOUNT, {"/proc/self/cgroup": "0::/../other\n"}, {f"{CG}/memory.max": str(GIB)}],
        8.0,
        GIB,
    ),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_least_that_anything_allows(tmp_path: Path, kind: str) -> None:
    files, cores, memory = MACHINES[kind]
    seen = host(write(tmp_path, HOST, *files))
    assert (seen.cpu_cores, seen.memory_total_bytes) == (cores, memory)


def test_the_affinity_counts_as_well(tmp_path: Path) -> None:
    assert host(write(tmp_path, HOST), cpus=3).cpu_cores == 3.0


def test_the_configuration_can_only_lower_it(tmp_path: Path) -> None:
    machine = write(tmp_path, HOST)
    lowered = host(machine, max_cores=1.5, max_memory_bytes=GIB)
    assert (lowered.cpu_cores, lowered.memory_total_bytes) == (1.5, GIB)
    raised = host(machine, max_cores=99.0, max_memory_bytes=99 * GIB)
    assert (raised.cpu_cores, raised.memory_total_bytes) == (8.0, 16 * GIB)


def test_a_limit_that_is_changed_is_seen_at_the_next_look(tmp_path: Path) -> None:
    limits = {f"{CG}/cpu.max": "max 100000", f"{CG}/memory.max": "max"}
    machine = write(tmp_path, HOST, V2_MOUNT, IN_NAMESPACE, limits)
    seen = host(machine)
    assert seen.cpu_cores == 8.0
    write(tmp_path, {f"{CG}/cpu.max": "200000 100000", f"{CG}/memory.max": str(GIB)})
    seen.look()
    assert (seen.cpu_cores, seen.memory_total_bytes) == (2.0, GIB)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("5", {5}),
        ("0-1, 4-5\n", {0, 1, 4, 5}),
        ("", set()),
        ("none", set()),
        ("1-", set()),
        ("-1", set()),
    ],
)
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


_WORDS = st.lists(
    st.sampled_from(
        ["max", "0", "-1", "100000", "some", "total=x", "0::/", "/", "a:b:c", " - ", "\n"]
    )
    | st.text(max_size=8)
).map(" ".join)


@rounds(100)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "/proc/self/cgroup",
                "/proc/stat",
                "/proc/pressure/cpu",
                f"{CG}/cpu.max",
                f"{CG}/memory.max",
                f"{CG}/memory.stat",
                f"{CG}/memory.current",
                f"{CG}/cpuset.cpus.effective",
                f"{CG}/cpu.stat",
            ]
        ),
        _WORDS,
    )
)
def test_whatever_the_files_say_there_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    machine = write(tmp_path_factory.mktemp("m"), HOST, V2_MOUNT, IN_NAMESPACE, files)
    seen = host(machine)
    assert 0 <= seen.cpu_cores <= 8
    assert 0 <= seen.memory_total_bytes <= 16 * GIB
    assert 0 <= seen.look().cpu_percent <= 100


def test_a_machine_without_any_of_the_files(tmp_path: Path) -> None:
    assert host(write(tmp_path)).look().cpu_percent == 0.0
