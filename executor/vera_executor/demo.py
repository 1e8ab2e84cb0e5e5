"""Functions to try a worker with; each returns plain JSON."""

import ast
import hashlib
import math
import statistics
import time
import warnings
from collections import Counter
from typing import Any, Final

from vera_worker import current_task, progress
from vera_worker.errors import NoCurrentTask

#: Seconds between two looks of a sleeping task whether it should end.
_NAP_S: Final = 0.05
_READ_BYTES: Final = 1024 * 1024


def analyze_data(*values: float, mode: str = "full") -> dict[str, Any]:
    """Return statistics of numbers; mode "fast" leaves out median and standard deviation."""
    _check_mode(mode, "full", "fast")
    numbers = _numbers(values)
    if not numbers:
        raise ValueError("analyze_data needs at least one number")
    result = {
        "mode": mode,
        "count": len(numbers),
        "sum": sum(numbers),
        "mean": statistics.fmean(numbers),
        "min": min(numbers),
        "max": max(numbers),
    }
    if mode == "full":
        result["median"] = statistics.median(numbers)
        result["stdev"] = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return result


def process_data(*values: float, mode: str = "normal") -> dict[str, Any]:
    """Square numbers and add them up; mode "thorough" gives their square roots as well."""
    _check_mode(mode, "normal", "fast", "thorough")
    numbers = _numbers(values)
    processed = [number * number for number in numbers]
    result = {
        "mode": mode,
        "count": len(numbers),
        "processed": processed,
        "total": sum(processed),
    }
    if mode == "thorough":
        result["roots"] = [math.sqrt(number) if number >= 0 else None for number in numbers]
    return result


def word_count(text: str) -> dict[str, Any]:
    """Count the lines, words and characters of a text, and its most frequent words."""
    words = text.split()
    return {
        "lines": len(text.splitlines()),
        "words": len(words),
        "characters": len(text),
        "unique": len(set(words)),
        "most_common": Counter(words).most_common(5),
    }


def hash_file(path: str, algorithm: str = "sha256") -> str:
    """Return the digest of a file as hexadecimal digits."""
    # Those with a digest of variable length (shake) are left out.
    if algorithm not in hashlib.algorithms_available or algorithm.startswith("shake"):
        raise ValueError(f"hash algorithm {algorithm!r} is not known here; try 'sha256'")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def count_ast_nodes(path: str) -> int:
    """Return how many nodes the syntax tree of a Python file has."""
    with open(path, "rb") as file:
        source = file.read()
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source, path)
    except SyntaxError as error:
        where = f" in line {error.lineno}" if error.lineno else ""
        raise ValueError(f"{path} does not parse as Python{where}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # zero bytes; nested too deep
        raise ValueError(f"{path} does not parse as Python: {error}") from None
    return sum(1 for _ in ast.walk(tree))


def sleep(seconds: float) -> dict[str, Any]:
    """Sleep, but end early when the task is asked to stop; say how long it was."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a sleep takes a number of seconds from 0, not {seconds}")
    started = time.monotonic()
    while (slept := time.monotonic() - started) < seconds and not _stop_requested():
        progress(slept / seconds, f"{slept:.1f} of {seconds:g} s")
        time.sleep(min(_NAP_S, seconds - slept))
    return {"slept_s": round(slept, 3), "stopped": slept < seconds}


def fail(message: str = "failed as it was asked to") -> None:
    """Raise a RuntimeError with this message."""
    raise RuntimeError(message)


def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments."""
    return {"args": args, "kwargs": kwargs}


def noop() -> None:
    """Do nothing."""


def _check_mode(mode: str, *known: str) -> None:
    if mode not in known:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(map(repr, known))}")


def _numbers(values: tuple[Any, ...]) -> tuple[float, ...]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"only numbers can be computed with, not {value!r}")  # noqa: TRY004
        if not math.isfinite(value):
            raise ValueError(f"only finite numbers can be computed with, not {value}")
    return values


def _stop_requested() -> bool:
    try:
        return current_task().stop_requested
    except NoCurrentTask:  # called directly, not by a worker
        return False
