"""Which functions of a module can be called, and by which name."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vera_executor.loading import load
from vera_worker.errors import ModuleLoadError

Write = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes a module and returns its name."""
    names: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> str:
        names.append(f"written_tasks_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(source)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_module_offers_its_own_public_functions(write: Write) -> None:
    name = write("""
from os.path import join
import os
class Kind: pass
constant = 1
def public(): pass
async def also(): pass
def _private(): pass
""")
    assert list(load([name])) == ["public", "also"]


def test_all_decides_where_it_is_given(write: Write) -> None:
    name = write("""
from os.path import join
__all__ = ["join", "missing", "_chosen"]
def public(): pass
def _chosen(): pass
""")
    assert list(load([name])) == ["join", "_chosen"]


def test_a_mark_offers_what_is_private_imported_or_not_in_all(write: Write) -> None:
    other = write("from vera_worker import task\n@task\ndef imported(): pass\n")
    name = write(f"""
from vera_worker import task
from {other} import imported
__all__ = []
@task(name="renamed")
def _private(): pass
""")
    handlers = load([name])
    assert sorted(handlers) == ["imported", "renamed"]
    assert handlers["imported"].info.module == other


def test_a_function_has_the_name_that_its_module_gives_it(write: Write) -> None:
    """Not that of a lambda, or of a wrapper which is the same for all that are decorated."""
    name = write("""
def twice(function):
    def wrapper(value):
        return function(function(value))
    return wrapper
double = lambda value: value * 2
half = lambda value: value // 2
fourfold = twice(double)
quarter = twice(half)
""")
    handlers = load([name])
    assert list(handlers) == ["twice", "double", "half", "fourfold", "quarter"]
    assert handlers["fourfold"].function(1) == 4
    assert handlers["quarter"].info.name == "quarter"


def test_the_same_function_twice_is_no_clash(write: Write) -> None:
    first = write("from vera_worker import task\n@task\ndef shared(): pass\n")
    second = write(f"from {first} import shared\n")
    assert list(load([first, second, first])) == ["shared"]


def test_two_functions_of_one_name_are_a_fault_that_names_both_modules(write: Write) -> None:
    first, second = write("def same(): pass\n"), write("def same(): pass\n")
    with pytest.raises(ModuleLoadError) as caught:
        load([first, second])
    assert caught.value.module == second
    assert caught.value.reason == (
        f"its function 'same' has the name of one in '{first}'; rename one with @task(name=\"…\")"
    )


def test_a_fault_of_an_import_says_where(write: Write) -> None:
    below = write("def fail():\n    return {}['missing']\n")
    name = write(f"import {below}\n\n{below}.fail()\n")
    with pytest.raises(ModuleLoadError, match=rf"KeyError: 'missing' \(.*{below}\.py:2\)$"):
        load([name])
    with pytest.raises(ModuleLoadError, match=r"No module named 'no_such_module_'$"):
        load(["no_such_module_"])


def test_a_name_given_twice_is_a_fault(write: Write) -> None:
    name = write("""
from vera_worker import task
def chosen(): pass
@task(name="chosen")
def other(): pass
""")
    with pytest.raises(ModuleLoadError, match="its function 'chosen' has the name of one in"):
        load([name])


def test_a_misspelt_option_of_a_mark_is_told_with_its_place(write: Write) -> None:
    name = write("from vera_worker import task\n\n@task(timout=5)\ndef resize(): pass\n")
    with pytest.raises(ModuleLoadError) as refused:
        load([name])
    assert "@task has no option 'timout'; did you mean 'timeout'?" in refused.value.reason
    assert f"{name}.py:3)" in refused.value.reason


def test_no_modules_offer_no_functions() -> None:
    assert load([]) == {}
