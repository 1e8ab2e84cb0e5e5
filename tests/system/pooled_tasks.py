"""Functions that tell where they run, for tests of pools."""

import os
import time
from pathlib import Path
from typing import Any

from vera_worker import task

#: What the warm-up of this process loaded; as good as a model.
MODEL: list[str | None] = []
#: What was there when this module was loaded.
LEVEL_AT_LOAD = os.environ.get("LEVEL")
HOARD: list[bytearray] = []


def _where() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "level": os.environ.get("LEVEL"),
        "level_at_load": LEVEL_AT_LOAD,
        "model": MODEL,
    }


def _load_model() -> None:
    if Path("no-model").exists():
        raise RuntimeError("there is no model")
    MODEL.append(os.environ.get("CUDA_VISIBLE_DEVICES"))


def infer() -> dict[str, Any]:
    """Tell where this runs."""
    return _where()


def meet(mine: str, other: str) -> dict[str, Any]:
    """Tell where this runs once another call is under way, in another executor."""
    Path(mine).touch()
    while not Path(other).exists():
        time.sleep(0.005)
    return _where()


@task(isolation="fresh")
def train() -> dict[str, Any]:
    """Tell where this runs, in an executor of its own."""
    return _where()


def plain() -> dict[str, Any]:
    """Tell where this runs, in the default pool."""
    return _where()


def hoard(mebibytes: int) -> dict[str, Any]:
    """Leave memory behind."""
    HOARD.append(bytearray(b"x") * (mebibytes * 2**20))
    return _where()
