"""The functions that can be called, each with the limits that are in force for it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from vera_supervisor.config import FunctionLimits
from vera_worker.handlers import CallCheck, FunctionInfo
from vera_worker.tasks import Isolation, Priority, Sandbox

#: Seconds before the first retry of a task, unless it or its function says otherwise.
_RETRY_DELAY_S: Final = 1.0
_MEMORY: Final = ("memory", "memory_tiers")


class Terms(NamedTuple):
    """On what terms a task runs."""

    priority: Priority
    timeout_s: float
    max_retries: int
    retry_delay_s: float


class Function:
    """One entry: what the executors said of it, and its limits."""

    def __init__(self, info: FunctionInfo, limits: FunctionLimits) -> None:
        self.info = info
        self.limits = limits
        self._check = CallCheck(info.parameters)
        self._priority = limits.priority or Priority.NORMAL
        self._max_retries = limits.max_retries or 0
        delay_s = limits.retry_delay
        self._retry_delay_s = _RETRY_DELAY_S if delay_s is None else delay_s

    def fault(self, args: list[Any], kwargs: dict[str, Any]) -> str | None:
        """Return why these arguments do not fit, or None."""
        return self._check.fault(args, kwargs)

    def terms(
        self,
        *,
        priority: Priority | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        retry_delay_s: float | None = None,
        default_timeout_s: float,
    ) -> Terms:
        """Return what is asked for; what is not, as the function has it, or as usual."""
        if timeout_s is None:
            timeout_s = self.limits.timeout
        return Terms(
            self._priority if priority is None else priority,
            default_timeout_s if timeout_s is None else timeout_s,
            self._max_retries if max_retries is None else max_retries,
            self._retry_delay_s if retry_delay_s is None else retry_delay_s,
        )


class Differences(NamedTuple):
    """Names of the functions by which two catalogues differ."""

    added: list[str]
    removed: list[str]
    #: Those whose signature, description or options have changed.
    changed: list[str]

    def words(self) -> list[str]:
        """Return them in words, for a log."""
        return [
            f"functions {verb}: {', '.join(names)}"
            for verb, names in zip(self._fields, self, strict=True)
            if names
        ]


class Catalogue:
    """All functions by exact name. A name that is not here cannot be called, whatever it spells."""

    def __init__(
        self, functions: Iterable[FunctionInfo], configured: Mapping[str, FunctionLimits]
    ) -> None:
        self._functions = {
            info.name: Function(info, _merged(info, configured.get(info.name)))
            for info in functions
        }
        self._unknown = sorted(set(configured) - set(self._functions))

    def __iter__(self) -> Iterator[Function]:
        return iter(self._functions.values())

    def get(self, name: str) -> Function | None:
        """Return that function, or None."""
        return self._functions.get(name)

    def missing(self, name: str) -> str:
        """Return what is wrong with a name that is not here, and which one was probably meant."""
        close = get_close_matches(name, self._functions, 1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        return f'no task module offers a function "{name}"{hint}'

    def differences(self, new: "Catalogue") -> Differences:
        """Return how `new` differs from this one."""
        mine, others = self._functions, new._functions  # noqa: SLF001 - it is one of us
        return Differences(
            sorted(others.keys() - mine.keys()),
            sorted(mine.keys() - others.keys()),
            sorted(n for n in mine.keys() & others.keys() if mine[n].info != others[n].info),
        )

    @property
    def doubts(self) -> list[str]:
        """What is configured of functions to no effect, in a sentence each."""
        return [
            *(f"tasks.functions.{n}: no task module offers such a function" for n in self._unknown),
            *(
                f"the function {f.info.name} can use the network: network = false holds only with "
                f'isolation = "sandboxed"'
                for f in self
                if f.limits.network is False and f.limits.isolation is not Isolation.SANDBOXED
            ),
            *(
                f"tasks.functions.{f.info.name}.memory holds nobody to anything: memory_tiers is "
                f"set as well; take one of them out"
                for f in self
                if f.limits.memory is not None and f.limits.memory_tiers
            ),
        ]

    @property
    def names(self) -> frozenset[str]:
        """Names of all functions."""
        return frozenset(self._functions)

    @property
    def max_concurrency(self) -> dict[str, int]:
        """How many attempts may run at once, by the functions for which that is limited."""
        return {
            f.info.name: f.limits.max_concurrency
            for f in self
            if f.limits.max_concurrency is not None
        }

    @property
    def memory(self) -> dict[str, tuple[int, ...]]:
        """How many bytes attempts may use, by the functions for which that is said."""
        tiers = {f.info.name: memory_tiers(f.limits.memory, f.limits.memory_tiers) for f in self}
        return {name: some for name, some in tiers.items() if some}

    @property
    def alone(self) -> frozenset[str]:
        """Names of the functions whose attempts run in an executor each."""
        return frozenset(
            f.info.name for f in self if f.limits.isolation not in (None, Isolation.POOLED)
        )

    @property
    def sandboxes(self) -> dict[str, Sandbox]:
        """How attempts are confined, by the functions for which they are."""
        return {
            f.info.name: Sandbox(network=f.limits.network is not False)
            for f in self
            if f.limits.isolation is Isolation.SANDBOXED
        }

    @property
    def at_most_once(self) -> frozenset[str]:
        """Names of the functions that must never be started twice."""
        return frozenset(f.info.name for f in self if not f.info.options.idempotent)


def memory_tiers(memory: int | None, tiers: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return what attempts may use, one after the other, however that was configured."""
    return tiers or (() if memory is None else (memory,))


def _merged(info: FunctionInfo, configured: FunctionLimits | None) -> FunctionLimits:
    """Return both together; the configuration of this worker wins over the code's own options."""
    said: dict[str, Any] = {}
    for source in (info.options, configured):
        found = {field.name: getattr(source, field.name, None) for field in fields(FunctionLimits)}
        known = {name: value for name, value in found.items() if value is not None}
        if not known.keys().isdisjoint(_MEMORY):  # two ways to say one thing
            said = {name: value for name, value in said.items() if name not in _MEMORY}
        said |= known
    return FunctionLimits(**said)
