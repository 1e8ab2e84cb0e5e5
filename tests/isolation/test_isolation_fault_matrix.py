"""Whatever a task does to its process, it fails alone, with its cause, and the pool heals (P4)."""

from typing import Any, NamedTuple

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.processes import await_pool, strays
from tests.support.rounds import rounds, values
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

POOL = 2


class Fault(NamedTuple):
    """What a task does, and what its certificate says; no cause: it completes."""

    function: str
    args: tuple[Any, ...] = ()
    cause: str | None = None
    says: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    timeout: float = 30.0


FAULTS = {
    "raise": Fault("fail", (), "exception", {"type": "RuntimeError"}),
    "sys.exit": Fault("sys_exit", (), "exception", {"type": "SystemExit"}),
    "os._exit": Fault("os_exit", (7,), "crashed", {"exit_code": 7, "signal": None}),
    "os._exit(0)": Fault("os_exit", (0,), "crashed", {"exit_code": 0, "signal": None}),
    "SIGSEGV": Fault("segfault", (), "crashed", {"signal": "SIGSEGV"}),
    "SIGKILL": Fault("kill_self", (), "crashed", {"signal": "SIGKILL"}),
    "SIGSTOP": Fault("stop_self", (), "timeout", {"timeout_s": 0.3}, 0.3),
    "no JSON": Fault("unserialisable", (), "unserialisable_result", {"type": "TypeError"}),
    "too large": Fault("huge_result", (2,), "unserialisable_result", {"type": "ResultTooLarge"}),
    "NaN": Fault("nan_result"),
    "garbage frame": Fault("garbage_frame", (), "crashed"),
    "stdout flood": Fault("flood_stdout", (4,)),
    "closes all fds": Fault("close_all_fds", (), "crashed"),
    "closes all fds, hangs": Fault("close_all_fds_and_hang", (), "crashed", {"exit_code": None}),
    "closes stdout": Fault("close_stdout"),
    "cwd, umask, mask": Fault("change_surroundings"),
    "str() fails": Fault("raise_bad_str", (), "exception", {"type": "_Mute"}),
    "str() exits": Fault("raise_bad_str", (True,), "exception", {"type": "_Deadly"}),
    "recursion": Fault("recursion", (), "exception", {"type": "RecursionError"}),
    "module state": Fault("remember", ("something",)),
    "no environment": Fault("clear_environment"),
}


def _commit(worker: WorkerProcess, fault: Fault) -> dict[str, Any]:
    """Run a fault beside a probe, look after both, and return the fault's record."""
    probe = worker.submit("sleep", 0.05)["task_id"]
    record: dict[str, Any] = worker.submit(
        fault.function, *fault.args, timeout=fault.timeout, wait=30
    )
    for beside in (worker.record(probe, wait=60), worker.submit("echo", 1, wait=60)):
        assert (beside["status"], beside["attempt"]) == ("completed", 1)
    _healed(worker)
    return record


def _healed(worker: WorkerProcess) -> None:
    await_pool(worker, POOL)
    assert strays(worker) == []


@pytest.mark.parametrize("name", FAULTS)
@rounds(1, 100)
def test_only_that_task_fails_with_its_own_cause(
    shared: WorkerProcess, name: str, rounds: int
) -> None:
    fault = FAULTS[name]
    for _ in range(rounds):
        record = _commit(shared, fault)
        if fault.cause is None:
            assert (record["status"], record["failure"]) == ("completed", None)
        else:
            said = record["failure"]
            assert (record["status"], said["cause"], said["message"] != "") == (
                "failed",
                fault.cause,
                True,
            )
            assert said | fault.says == said


#: The header of a frame is 8 bytes; this answer has about 1,030 in all.
@values((0, 1, 4, 7, 8, 9, 500), range(1020), "cuts")
def test_an_answer_torn_at_any_byte_costs_one_task(shared: WorkerProcess, cuts: list[int]) -> None:
    for at_byte in cuts:
        failure = _commit(shared, Fault("torn_frame", (at_byte,)))["failure"]
        assert (at_byte, failure["cause"], failure["signal"]) == (at_byte, "crashed", "SIGKILL")


def test_what_a_task_changed_does_not_reach_the_next_one(start_worker: StartWorker) -> None:
    worker = start_worker(MIN_WORKERS="1", MAX_WORKERS="1")
    before = worker.submit("surroundings", wait=60)["result"]
    assert worker.submit("change_surroundings", wait=60)["status"] == "completed"
    assert worker.submit("surroundings", wait=60)["result"] == before
    printed = worker.submit("print_everywhere", "after", wait=60)["task_id"]
    assert worker.client.get(f"/task/{printed}/output").text.count("after") == 4


def test_an_answer_for_another_task_is_dropped_and_counted(shared: WorkerProcess) -> None:
    late = shared.client.get("/metrics").json()["late_answers"]
    other = shared.submit("sleep", 0.5)["task_id"]
    assert shared.submit("return_forged", other, wait=60)["status"] == "completed"
    record = shared.record(other, wait=60)
    assert (record["status"], record["result"]["stopped"]) == ("completed", False)
    assert shared.client.get("/metrics").json()["late_answers"] == late + 1


@pytest.mark.parametrize(
    ("function", "says"),
    [("kill_self", {"signal": "SIGKILL"}), ("os_exit", {"exit_code": 3})],
)
def test_a_crash_is_tried_again_twice_and_then_told(
    start_worker: StartWorker, function: str, says: dict[str, Any]
) -> None:
    worker = start_worker(VERA_LIMITS__CRASH_RETRIES="2")
    record = worker.submit(function, wait=60)
    assert (record["status"], record["attempt"]) == ("failed", 3)
    assert record["failure"] | says | {"cause": "crashed"} == record["failure"]
    _healed(worker)
