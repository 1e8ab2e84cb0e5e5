"""The modules that decide have no clock, no loop and no way out into the world."""

import ast
from pathlib import Path

import pytest

import vera_worker
from vera_supervisor import scheduling

WORDS = Path(vera_worker.__file__).parent
DECIDING = [
    *sorted(Path(scheduling.__file__).parent.glob("*.py")),
    *(WORDS / f"{name}.py" for name in ("lifecycle", "tasks", "errors")),
]
WORLDLY = {
    *("time", "datetime", "os", "sys", "signal", "socket", "select", "logging"),
    *("asyncio", "anyio", "uvloop", "threading", "multiprocessing", "subprocess"),
}


def imports(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", DECIDING, ids=lambda path: path.stem)
def test_what_decides_imports_nothing_worldly(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)}.isdisjoint(WORLDLY)


@pytest.mark.parametrize("path", DECIDING, ids=lambda path: path.stem)
def test_what_decides_imports_of_ours_only_what_decides(path: Path) -> None:
    ours = {name for name in imports(path) if name.startswith("vera_")}
    packages = (scheduling.__name__, vera_worker.__name__)
    decides = {f"{package}.{deciding.stem}" for package in packages for deciding in DECIDING}
    assert ours <= decides | {scheduling.__name__}


def test_what_decides_draws_lots_only_from_the_rng_that_it_is_given() -> None:
    for path in DECIDING:
        text = path.read_text()
        assert "Random(" not in text
        assert "random" not in imports(path) or "from random import Random\n" in text
