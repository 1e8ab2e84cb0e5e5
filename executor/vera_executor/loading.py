"""The functions that clients may call: found in the configured modules, by exact name."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from vera_executor import error_text
from vera_worker.errors import ModuleLoadError
from vera_worker.handlers import FunctionInfo, describe, options_of

#: Modules whose frames lead to the module that is imported, or belong to its `@task`.
_OUR_FRAMES: Final = frozenset(
    {
        __name__,
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "vera_worker.handlers",
    }
)


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
        for public_name, function in _offered(module):
            info = _describe(function, public_name, name)
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
        reason = error_text.summary(error)
        where = error_text.place(error, _OUR_FRAMES)
        if where:
            reason += f" ({where})"
        raise ModuleLoadError(name, reason, error_text.traceback(error, _OUR_FRAMES)) from error


def _offered(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
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
            yield name, value


def _describe(function: Callable[..., Any], name: str, module: str) -> FunctionInfo:
    try:
        info = describe(function)
    except Exception as error:  # the module's own code answers when its defaults are printed
        reason = f"{function.__qualname__}: {error_text.message(error)}"
        raise ModuleLoadError(module, reason) from error
    # Its own __name__ may be "<lambda>", or that of the wrapper which a decorator put around it.
    return info if info.options.name else msgspec.structs.replace(info, name=name)
