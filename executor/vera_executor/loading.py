"""The functions that clients may call: found in the configured modules, by exact name."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from vera_worker.errors import ModuleLoadError
from vera_worker.handlers import FunctionInfo, describe, options_of


class Handler(NamedTuple):
    """A function and its description."""

    function: Callable[..., Any]
    info: FunctionInfo


def load(modules: Iterable[str]) -> dict[str, Handler]:
    """Import `modules` and return their handlers by name; raise ModuleLoadError.

    A module offers what its `__all__` names, else its own public functions, and in any case what
    is marked with `@task`.
    """
    handlers: dict[str, Handler] = {}
    for name in modules:
        module = _import(name)
        for function in _offered(module):
            info = _describe(function, name)
            other = handlers.get(info.name)
            if other is not None and other.function is not function:
                raise ModuleLoadError(
                    name,
                    f"its function {info.name!r} has the name of one in {other.info.module!r}; "
                    f'rename one with @task(name="…")',
                )
            handlers[info.name] = Handler(function, info)
    return handlers


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:  # a module that calls sys.exit() is at fault as well
        reason = f"{type(error).__name__}: {error}"
        raise ModuleLoadError(name, reason, traceback.format_exc()) from error


def _offered(module: ModuleType) -> Iterator[Callable[..., Any]]:
    exported = getattr(module, "__all__", None)
    for name, value in vars(module).items():
        if not inspect.isfunction(value):
            continue
        public = (
            name in exported
            if exported is not None
            else not name.startswith("_") and value.__module__ == module.__name__
        )
        if public or options_of(value) is not None:
            yield value


def _describe(function: Callable[..., Any], module: str) -> FunctionInfo:
    try:
        return describe(function)
    except ValueError as error:
        raise ModuleLoadError(module, f"{function.__qualname__}: {error}") from error
