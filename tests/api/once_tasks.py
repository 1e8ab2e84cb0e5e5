"""A task module with what must never be started twice."""

from vera_worker import task


@task(idempotent=False)
def fail_for_good() -> None:
    raise RuntimeError("no second time")
