"""`@task`, and what a worker needs to know of a function to call it."""

import inspect
import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Final, TypeAlias, TypeVar, overload

import msgspec
from msgspec import Meta

from vera_worker.tasks import Isolation, Priority

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__vera_task__"
_Bytes: TypeAlias = Annotated[int, Meta(ge=2**20)]
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and habits of one function; None leaves it to the configuration."""

    name: Annotated[str, Meta(min_length=1)] | None = None
    #: Seconds that one attempt may take.
    timeout: Annotated[float, Meta(gt=0)] | None = None
    #: Bytes that one attempt may use.
    memory: _Bytes | None = None
    #: The same in steps, each above the one before: one that needs more is tried with the next.
    memory_tiers: Annotated[tuple[_Bytes, ...], Meta(min_length=1)] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    #: Seconds before the first retry.
    retry_delay: Annotated[float, Meta(ge=0)] | None = None
    priority: Priority | None = None
    max_concurrency: Annotated[int, Meta(ge=1)] | None = None
    isolation: Isolation | None = None
    #: Whether a sandboxed attempt may use the network.
    network: bool | None = None
    #: False: never start it a second time, even when the worker was lost while it ran.
    idempotent: bool = True


_OPTIONS: Final = TaskOptions.__struct_fields__


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """One parameter of a function."""

    name: str
    #: The name of its `inspect.Parameter.kind`, e.g. "POSITIONAL_OR_KEYWORD".
    kind: str
    required: bool


class FunctionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A registered function as the parent sees it; the function itself stays in the executors."""

    name: str
    module: str
    #: As it reads in the source, e.g. "(path: str, *, limit: int = 10) -> int".
    signature: str
    #: First line of the docstring.
    doc: str
    parameters: tuple[Parameter, ...]
    options: TaskOptions = TaskOptions()


@overload
def task(function: _F, /) -> _F: ...
@overload
def task(
    *,
    name: str | None = None,
    timeout: float | None = None,
    memory: int | None = None,
    memory_tiers: Sequence[int] | None = None,
    max_retries: int | None = None,
    retry_delay: float | None = None,
    priority: str | None = None,
    max_concurrency: int | None = None,
    isolation: str | None = None,
    network: bool | None = None,
    idempotent: bool = True,
) -> Callable[[_F], _F]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Mark a function of a task module as callable by clients, with limits of its own.

    Public functions of a task module need no mark. With it, a function may carry another name,
    be private or imported, and say its `timeout` (seconds), `memory` (bytes) or `memory_tiers`,
    `max_retries`, `retry_delay` (seconds), `priority`, `max_concurrency`, `isolation`, whether it
    may use the `network` when it is sandboxed, and whether it is `idempotent`. The function itself
    is returned, so it can be called as before. Raises ValueError where an option is not what it may
    be.
    """
    chosen = _chosen(options)

    def mark(function: _F) -> _F:
        setattr(function, _MARK, chosen)
        return function

    return mark if function is None else mark(function)


def _chosen(options: dict[str, Any]) -> TaskOptions:
    for name in (name for name in options if name not in _OPTIONS):
        close = get_close_matches(name, _OPTIONS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(_OPTIONS)}"
        raise ValueError(f"@task has no option {name!r}; {hint}")
    try:
        chosen = msgspec.convert(options, TaskOptions)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise ValueError(f"@task({path.rstrip('`')}): {message}") from None
    tiers = chosen.memory_tiers or ()
    if tiers and chosen.memory is not None:
        raise ValueError("@task(memory): give memory or memory_tiers, not both")
    if any(higher <= lower for lower, higher in pairwise(tiers)):
        raise ValueError("@task(memory_tiers): each must be above the one before")
    return chosen


def options_of(function: Callable[..., Any]) -> TaskOptions | None:
    """Return what `@task` said of `function`; None where it is not marked."""
    options: TaskOptions | None = getattr(function, _MARK, None)
    return options


def describe(function: Callable[..., Any]) -> FunctionInfo:
    """Return what the parent needs to know of `function`; raise ValueError without a signature."""
    options = options_of(function) or TaskOptions()
    signature = inspect.signature(function)
    doc = inspect.getdoc(function) or ""
    return FunctionInfo(
        name=options.name or function.__name__,
        module=function.__module__,
        signature=str(signature),
        doc=doc.partition("\n")[0],
        parameters=tuple(
            Parameter(p.name, p.kind.name, p.default is p.empty and p.kind not in _VARIADIC)
            for p in signature.parameters.values()
        ),
        options=options,
    )


class CallCheck:
    """Says whether arguments fit a function, without having the function."""

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        empty = inspect.Parameter.empty
        self._signature = inspect.Signature(
            [
                inspect.Parameter(
                    p.name,
                    getattr(inspect.Parameter, p.kind),
                    default=empty if p.required or p.kind.startswith("VAR_") else None,
                )
                for p in parameters
            ]
        )
        # A call without keywords fits by its number of arguments alone: the usual case, and binding
        # costs twenty times as much.
        kinds = [p.kind for p in parameters]
        positional = [p for p in parameters if p.kind.startswith("POSITIONAL")]
        self._least = sum(p.required for p in positional)
        self._most = math.inf if "VAR_POSITIONAL" in kinds else len(positional)
        self._needs_keyword = any(p.kind == "KEYWORD_ONLY" and p.required for p in parameters)
        # Names that keywords may bear as well. Older versions of Signature.bind() refuse them.
        takes_any_keyword = any(p.kind == "VAR_KEYWORD" for p in parameters)
        self._free_names = frozenset(
            p.name for p in parameters if p.kind == "POSITIONAL_ONLY" and takes_any_keyword
        )

    def fault(self, args: list[Any], kwargs: dict[str, Any]) -> str | None:
        """Return what is wrong with a call in Python's own words, or None."""
        if not kwargs and not self._needs_keyword and self._least <= len(args) <= self._most:
            return None
        if self._free_names:
            kwargs = {name: kwargs[name] for name in kwargs if name not in self._free_names}
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return None
