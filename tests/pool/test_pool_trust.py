"""The supervisor believes an executor only what an executor can know."""

import pytest

from vera_supervisor.pool.pool import _failure
from vera_worker.tasks import Cause, Used
from vera_worker.wire import Raised


def raised(cause: str) -> Raised:
    return Raised("t", 1, cause, "ValueError", "bad", "", 0.1, Used(0.1, 1))


@pytest.mark.parametrize("cause", [Cause.EXCEPTION, Cause.UNSERIALISABLE_RESULT])
def test_what_a_child_can_conclude_is_taken(cause: Cause) -> None:
    assert _failure(raised(cause.value), None).cause is cause


def test_a_child_can_be_short_of_memory_only_where_that_is_limited() -> None:
    failure = _failure(raised("memory"), None, 64 * 1024 * 1024)
    assert (failure.cause, failure.limit_mb) == (Cause.MEMORY, 64)


@pytest.mark.parametrize("cause", ["interrupted", "worker_lost", "memory", "no such cause", ""])
def test_no_child_can_claim_a_free_retry(cause: str) -> None:
    assert _failure(raised(cause), None).cause is Cause.EXCEPTION
