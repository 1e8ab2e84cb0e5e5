"""The kernel holds a task with a limit to a bound of its own, and no other task."""

import resource

from tests.executor.harness import Child
from vera_worker import wire

MIB = 1024 * 1024


def test_memory_far_above_the_limit_is_refused_and_the_next_task_has_no_bound(
    child: Child,
) -> None:
    no_bound = resource.prlimit(child.pid, resource.RLIMIT_DATA)
    child.assign("balloon", 300, memory_bytes=64 * MIB)
    refused = child.answer()
    assert isinstance(refused, wire.Raised)
    assert (refused.cause, refused.exception) == ("memory", "MemoryError")
    assert resource.prlimit(child.pid, resource.RLIMIT_DATA) == no_bound
    assert child.call("balloon", 300) == 300


def test_memory_that_a_task_without_a_limit_cannot_get_is_its_own_mistake(child: Child) -> None:
    assert child.failure("out_of_memory").cause == "exception"
