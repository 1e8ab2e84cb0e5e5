"""The warm-up of a pool: a function that is called once in each of its executors, before any task.

What it loads into the globals of a module stays there for all tasks that follow.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

from vera_executor import coroutines, error_text
from vera_worker.errors import ModuleLoadError, WarmUpFailed

_OUR_FRAMES: Final = frozenset({__name__, *coroutines.FRAMES})


def find(name: str) -> Callable[[], Any]:
    """Return the function "package.module.function"; raise ModuleLoadError where there is none."""
    module_name, _, function_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), function_name, None)
    except BaseException as error:  # as for a task module
        trace = error_text.traceback(error, _OUR_FRAMES)
        raise ModuleLoadError(module_name, error_text.summary(error), trace) from error
    if not callable(found):
        raise ModuleLoadError(
            module_name, f"a pool's warm_up names {name!r}, and there is no such function"
        )
    function: Callable[[], Any] = found
    return function


def warm_up(name: str) -> None:
    """Call that function; raise WarmUpFailed for whatever it raises."""
    function = find(name)
    try:
        coroutines.finish(function())
    except BaseException as error:  # sys.exit() is no way to get ready
        trace = error_text.traceback(error, _OUR_FRAMES)
        raise WarmUpFailed(name, error_text.summary(error), trace) from error
