"""What can be configured of a pool: executors that run some functions, and those alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vera_supervisor.config.keys import key, required
from vera_supervisor.config.kinds import Each, Integer, Kind, Seconds, Size, UnfitError
from vera_supervisor.config.texts import FUNCTION, WARM_UP

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MIB: Final = 2**20

#: The variable by which CUDA is told which GPUs there are.
GPU_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Distinct(Each[int]):
    """A list of numbers, each once."""

    @property
    def expected(self) -> str:
        return f"{super().expected}, none twice"

    def read(self, value: object) -> tuple[int, ...]:
        numbers = super().read(value)
        if len(set(numbers)) < len(numbers):
            raise UnfitError(value)
        return numbers


@dataclass(frozen=True)
class Variables(Kind[Mapping[str, str]]):
    """Variables of the environment."""

    @property
    def expected(self) -> str:
        return 'a table of texts and integers by the names of variables, such as {LEVEL = "3"}'

    def read(self, value: object) -> Mapping[str, str]:
        if not isinstance(value, dict):
            raise UnfitError(value)
        return {name: self._read(name, one) for name, one in value.items()}

    def _read(self, name: str, value: object) -> str:
        if not _VARIABLE.fullmatch(name):
            raise UnfitError(name)
        if not isinstance(value, str | int) or type(value) is bool or "\0" in str(value):
            raise UnfitError(value)
        return str(value)

    def to_toml(self, value: object) -> object:
        return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Executors for some functions and no others; one such table for each pool, by default none."""

    functions: tuple[str, ...] = required(
        Each(FUNCTION),
        "The functions that run in this pool, and in no other one.",
        example=["analyze_data"],
    )
    max_workers: int = key(
        1,
        Integer(1, 4096),
        "Executors at most; unset and with `gpus`: one for each GPU.",
        reloadable=True,
    )
    min_workers: int = key(
        1,
        Integer(0, 4096),
        "Executors that are kept warm when there is nothing to do.",
        reloadable=True,
    )
    queue_size: int | None = key(
        None,
        Integer(1),
        "Queued tasks of its functions at most; unset: only queue.size holds, for all pools.",
        reloadable=True,
        example=50,
    )
    gpus: tuple[int, ...] = key(
        (),
        Distinct(Integer(0, 1023)),
        f"GPUs of which each executor gets one, as its {GPU_VARIABLE}.",
        example=[0, 1],
        reloadable=True,
    )
    environment: Mapping[str, str] | None = key(
        None,
        Variables(),
        "Variables that are set in its executors before the task modules are loaded.",
        secret=True,
        example={"OMP_NUM_THREADS": "1"},
        reloadable=True,
    )
    warm_up: str | None = key(
        None,
        WARM_UP,
        "Function that is called once in each new executor before it takes tasks.",
        example="package.tasks.load_model",
        reloadable=True,
    )
    start_timeout: float | None = key(
        None,
        Seconds(positive=True),
        "Seconds that an executor may take to become ready; unset: as in [executor].",
        example="5m",
        reloadable=True,
    )
    idle_timeout: float | None = key(
        None,
        Seconds(),
        "Seconds without work before a surplus executor is stopped; unset: as in [executor].",
        example="1h",
        reloadable=True,
    )
    max_tasks: int | None = key(
        None,
        Integer(0),
        "Tasks before an executor is replaced; unset: as in [executor].",
        example=1000,
        reloadable=True,
    )
    max_growth: int | None = key(
        None,
        Size(_MIB),
        "Memory by which an executor may grow; unset: as in [executor].",
        example="4GiB",
        reloadable=True,
    )
