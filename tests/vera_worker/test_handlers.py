"""`@task`, descriptions of functions, and the check of arguments without the function."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vera_worker.handlers import CallCheck, TaskOptions, describe, options_of, task
from vera_worker.tasks import Isolation, Priority


def plain(path: str, *, limit: int = 10) -> int:
    """Do something to a file.

    And more.
    """
    return limit + len(path)


def test_a_bare_mark_leaves_the_function_as_it_was() -> None:
    @task
    def marked(value: int) -> int:
        return value + 1

    assert marked(1) == 2
    assert options_of(marked) == TaskOptions()


def test_a_mark_with_options_says_them() -> None:
    @task(
        name="other",
        timeout=5,
        memory=2**20,
        max_retries=2,
        retry_delay=0.5,
        priority="high",
        max_concurrency=1,
        isolation="fresh",
        idempotent=False,
    )
    def marked() -> str:
        return "called"

    assert marked() == "called"
    assert options_of(marked) == TaskOptions(
        name="other",
        timeout=5.0,
        memory=2**20,
        max_retries=2,
        retry_delay=0.5,
        priority=Priority.HIGH,
        max_concurrency=1,
        isolation=Isolation.FRESH,
        idempotent=False,
    )


def test_a_function_without_a_mark_has_no_options() -> None:
    assert options_of(plain) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": "urgent"}, "@task(priority): Invalid enum value 'urgent'"),
        ({"timeout": "long"}, "@task(timeout): Expected `float | null`, got `str`"),
        ({"timeout": 0}, "@task(timeout): Expected `float` > 0.0"),
        ({"timeout": float("nan")}, "@task(timeout): Expected `float` > 0.0"),
        ({"memory": 4096}, "@task(memory): Expected `int` >= 1048576"),
        ({"memory_tiers": [2**21, 4096]}, "@task(memory_tiers[1]): Expected `int` >= 1048576"),
        ({"memory_tiers": []}, "@task(memory_tiers): Expected `array` of length >= 1"),
        ({"memory_tiers": [2**21, 2**21]}, "@task(memory_tiers): each must be above the one"),
        ({"memory_tiers": [2**21], "memory": 2**21}, "@task(memory): give memory or memory_tiers"),
        ({"max_retries": -1}, "@task(max_retries): Expected `int` >= 0"),
        ({"retry_delay": -0.5}, "@task(retry_delay): Expected `float` >= 0.0"),
        ({"max_concurrency": 0}, "@task(max_concurrency): Expected `int` >= 1"),
        ({"name": ""}, "@task(name): Expected `str` of length >= 1"),
        ({"timout": 5}, "@task has no option 'timout'; did you mean 'timeout'?"),
        ({"colour": 5}, "@task has no option 'colour'; it has name, timeout, memory, "),
    ],
)
def test_a_wrong_or_misspelt_option_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        task(**options)


def test_a_description_tells_what_a_caller_needs() -> None:
    info = describe(plain)
    assert (info.name, info.module, info.doc) == ("plain", __name__, "Do something to a file.")
    assert info.signature == "(path: str, *, limit: int = 10) -> int"
    assert [(p.name, p.kind, p.required) for p in info.parameters] == [
        ("path", "POSITIONAL_OR_KEYWORD", True),
        ("limit", "KEYWORD_ONLY", False),
    ]
    assert info.options == TaskOptions()


def test_only_a_parameter_without_which_a_call_fails_is_required() -> None:
    parameters = describe(_define("a, b=1, *args, c, d=1, **kwargs")).parameters
    assert [p.name for p in parameters if p.required] == ["a", "c"]


def test_a_description_bears_the_name_that_was_chosen() -> None:
    assert describe(task(name="chosen")(lambda: None)).name == "chosen"


def test_a_function_without_a_docstring_has_an_empty_one() -> None:
    assert describe(lambda: None).doc == ""


@pytest.mark.parametrize(
    ("args", "kwargs", "fault"),
    [
        (["a"], {}, None),
        (["a"], {"limit": 3}, None),
        ([], {"path": "a"}, None),
        ([], {}, "missing a required argument: 'path'"),
        (["a", 3], {}, "too many positional arguments"),
        (["a"], {"limt": 3}, "got an unexpected keyword argument 'limt'"),
        (["a"], {"path": "b"}, "multiple values for argument 'path'"),
    ],
)
def test_a_fault_is_told_in_pythons_own_words(
    args: list[Any], kwargs: dict[str, Any], fault: str | None
) -> None:
    assert CallCheck(describe(plain).parameters).fault(args, kwargs) == fault


NAMES = "abcdef"


@st.composite
def parameter_lists(draw: st.DrawFn) -> str:
    """Return the text between the parentheses of some function's head."""
    names = list(NAMES[: draw(st.integers(0, len(NAMES)))])
    optional = False
    before_slash = draw(st.integers(0, len(names)))
    words: list[str] = []
    for position in range(draw(st.integers(before_slash, len(names)))):
        optional = optional or draw(st.booleans())
        words.append(names.pop(0) + ("=None" if optional else ""))
        if position + 1 == before_slash:
            words.append("/")
    star = draw(st.sampled_from(["", "*args", "*"] if names else ["", "*args"]))
    if star:
        words.append(star)
        words += [name + draw(st.sampled_from(["", "=None"])) for name in names]
    if draw(st.booleans()):
        words.append("**kwargs")
    return ", ".join(words)


def _define(parameters: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    exec(f"def function({parameters}): pass", scope)
    function: Callable[..., Any] = scope["function"]
    return function


@settings(max_examples=150)
@given(
    parameter_lists(),
    st.lists(st.integers(), max_size=7),
    st.dictionaries(st.sampled_from([*NAMES, "args", "kwargs", "self", "not a name"]), st.none()),
)
def test_the_check_agrees_with_calling(
    parameters: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    function = _define(parameters)
    try:
        function(*args, **kwargs)
        fits = True
    except TypeError:
        fits = False
    assert (CallCheck(describe(function).parameters).fault(args, kwargs) is None) == fits


def test_a_positional_only_name_may_come_again_among_the_keywords() -> None:
    check = CallCheck(describe(_define("a=None, /, **kwargs")).parameters)
    assert check.fault([], {"a": 1}) is None
    assert check.fault([1, 2], {"a": 1}) == "too many positional arguments"
