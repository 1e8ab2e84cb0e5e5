"""What holds for all tests: none depends on how much time the machine has for it just now.

Where a test that fails is tried again, as in CI, each try has its whole time, and nothing of the
one before it.
"""

from collections.abc import Iterator
from typing import Any, Final

import hypothesis
import pytest

from tests.fakes.makers import TORTURE

_LIMIT: Final = pytest.StashKey[Any]()
_FAILED: Final = pytest.StashKey[bool]()

hypothesis.settings.register_profile(
    "tests",
    # The same examples in every run, so that what fails has to do with the change; see `rounds`.
    derandomize=not TORTURE,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Remember the time limit of a test."""
    item.stash[_LIMIT] = settings


def _begin_time(item: pytest.Item) -> None:
    """Let the time of a test begin anew.

    It is set once, and taken back when the test fails: what comes then could hang for ever.
    """
    if _LIMIT in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_LIMIT])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Give each try of a test its time."""
    _begin_time(item)
    item.stash[_FAILED] = False
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether a test has failed."""
    report: Any = yield
    item.stash[_FAILED] |= report.failed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Tidy up, in limited time; after a failure what the tests of its module share as well.

    A worker that has seen a test fail may be why the next one would. What all tests share stays.
    """
    _begin_time(item)
    if not item.stash[_FAILED]:
        return (yield)
    state: Any = item.session._setupstate
    try:
        state.teardown_exact(item.session)
    finally:
        shared_by_all = state.stack.pop(item.session)
        try:
            done = yield
        finally:
            state.stack[item.session] = shared_by_all
    return done
