"""A task over its memory limit is killed soon, with its stack, and runs again only with more."""

from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.slot import SHORT_DUMP_LEAD_S
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Requirements

MIB = 1024 * 1024


def limited(**changes: int) -> Desk:
    return desk_with(1, task_memory=(64 * MIB,), memory={n: (m,) for n, m in changes.items()})


def exceed(desk: Desk, task_id: str, attempt: int = 1) -> list[fx.Effect]:
    slot_id = desk.slot_of(task_id).slot_id
    return desk.tell(ev.MemoryExceeded(slot_id, task_id, attempt, 100 * MIB))


def test_an_attempt_gets_the_limit_of_its_function_or_that_of_all() -> None:
    desk = limited(big=512 * MIB)
    assert one(fx.Assign, desk.submit("a")).memory_bytes == 64 * MIB
    desk.end("a")
    assert one(fx.Assign, desk.submit("b", function="big")).memory_bytes == 512 * MIB
    assert one(fx.Assign, desk_with(1).submit("a")).memory_bytes is None


def test_a_task_over_its_limit_is_killed_with_its_stack_and_fails_for_good() -> None:
    desk = limited()
    desk.submit("a", max_retries=3)
    assert only(fx.DumpStack, exceed(desk, "a")) != []
    assert only(fx.Kill, desk.tell(ev.TimePassed())) == []
    desk.now += SHORT_DUMP_LEAD_S
    assert only(fx.Kill, desk.tell(ev.TimePassed())) != []
    finish = one(fx.FinishTask, desk.lose("a"))
    assert finish.status is Status.FAILED
    failure = finish.failure
    assert failure is not None
    assert failure.cause is Cause.MEMORY
    assert failure.message == "it used 100 MiB of memory, more than its limit of 64 MiB"
    assert (failure.limit_mb, failure.peak_memory_mb) == (64.0, 100.0)


def test_one_that_ends_before_the_kill_failed_all_the_same() -> None:
    desk = limited()
    desk.submit("a")
    exceed(desk, "a")
    failure = one(fx.FinishTask, desk.end("a")).failure
    assert failure is not None
    assert failure.cause is Cause.MEMORY


def test_a_task_that_was_to_stop_anyway_is_not_given_its_grace() -> None:
    desk = limited()
    desk.submit("a")
    desk.cancel("a")
    exceed(desk, "a")
    desk.now += SHORT_DUMP_LEAD_S
    assert only(fx.Kill, desk.tell(ev.TimePassed())) != []
    assert one(fx.FinishTask, desk.lose("a")).status is Status.CANCELLED


def test_what_was_seen_of_an_earlier_attempt_harms_nobody() -> None:
    desk = limited()
    desk.submit("a")
    assert exceed(desk, "a", attempt=2) == []
    assert one(fx.FinishTask, desk.end("a")).status is Status.COMPLETED


def test_one_that_the_kernel_killed_for_its_memory_did_not_crash() -> None:
    desk = limited()
    desk.submit("a", max_retries=3)
    slot_id = desk.slot_of("a").slot_id
    lost = ev.ExecutorLost(slot_id, "killed", signal="SIGKILL", excess_bytes=64 * MIB, stack="here")
    failure = one(fx.FinishTask, desk.tell(lost)).failure
    assert failure is not None
    assert (failure.cause, failure.signal, failure.stack) == (Cause.MEMORY, "SIGKILL", "here")
    assert failure.message == "it needed more memory than its limit of 64 MiB"
    assert (failure.limit_mb, failure.peak_memory_mb) == (64.0, 64.0)


def test_a_task_that_needs_more_memory_gets_the_next_tier_each_once() -> None:
    desk = desk_with(1, task_memory=(64 * MIB, 256 * MIB))
    assert one(fx.Assign, desk.submit("a")).memory_bytes == 64 * MIB
    exceed(desk, "a")
    effects = desk.lose("a")
    requeue = one(fx.RequeueTask, effects)
    assert (requeue.failure.cause, requeue.failure.limit_mb) == (Cause.MEMORY, 64.0)
    assert (requeue.delay_s, requeue.spent.memory_tiers) == (0.0, 1)
    effects = desk.get_ready()
    assert one(fx.Assign, effects).memory_bytes == 256 * MIB
    exceed(desk, "a", attempt=2)
    finish = one(fx.FinishTask, desk.lose("a"))
    assert finish.failure is not None
    assert (finish.failure.cause, finish.failure.limit_mb) == (Cause.MEMORY, 256.0)


def test_what_a_task_asked_for_is_no_tier() -> None:
    desk = desk_with(1, task_memory=(64 * MIB, 256 * MIB))
    assign = one(fx.Assign, desk.submit("a", requirements=Requirements(memory_mb=100)))
    assert assign.memory_bytes == 100 * MIB
    exceed(desk, "a")
    assert only(fx.FinishTask, desk.lose("a")) != []
