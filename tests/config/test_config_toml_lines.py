"""The lines of keys, found in any text that is valid TOML."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from vera_supervisor.config.toml_lines import line_of, locate

Document = dict[str, Any]

SCALARS = (
    st.integers(-(2**40), 2**40)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\"'\\\n[]{}#=. "))
    | st.datetimes()
)
# Each key is written with an id of its own, so that a line can be recognised by it.
NAMES = st.text(st.sampled_from("ab-_.\"'\\ []#=é\t"), max_size=5)


def uniquely_named(value: Any, ids: Iterator[int]) -> Any:
    if isinstance(value, dict):
        return {f"{name}k{next(ids)}k": uniquely_named(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [uniquely_named(item, ids) for item in value]
    return value


def documents() -> st.SearchStrategy[Document]:
    values = st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(NAMES, inner, max_size=3)
            | st.lists(st.dictionaries(NAMES, inner, max_size=2), max_size=2)
        ),
        max_leaves=12,
    )
    return st.dictionaries(NAMES, values, max_size=4).map(
        lambda document: uniquely_named(document, iter(range(10_000)))
    )


def paths(document: Document, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in document.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, name))


@given(documents(), st.booleans())
def test_every_key_of_a_written_document_is_on_the_line_that_is_found(
    document: Document, multiline: bool
) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline)
    lines, found = text.split("\n"), locate(text)
    for path in paths(document):
        line = line_of(path, found)
        assert line is not None
        # The id survives all quoting of the name around it.
        key_id = path[-1][path[-1].rindex("k", 0, -1) :]
        if path in found:
            assert key_id in lines[line - 1]
        else:
            assert any(path[: len(known)] == known for known in found)


@given(documents())
def test_only_keys_of_the_document_are_found(document: Document) -> None:
    known = set(paths(document))
    for path in locate(tomli_w.dumps(document)):
        # What stands in arrays of tables is found by its path with an index.
        value: Any = document
        for name in path:
            if isinstance(value, list):
                break
            value = value[name]
        assert path in known or isinstance(value, list)


HARD = '''\
# server.port = 1
title = "a # no comment, [no.table]" # [neither.this]

[ server . "quoted.name" ]   # spaces
port=1
'single # quoted' = 2

[tasks]
modules = [
  "a", # ] no end
  "b]", 'c = 1',
  """
port = 3
""",
]
after_array = 1
text = """
[fake]
key = 1
\\""" still = 2
five = 3"""""
after_text = 1
literal = \'\'\'
[fake2]
\\\'\'\'
after_literal = {a = 1, b.c = "}", d = [1, {e = 2}]}
dotted . "k e y".last = true
quotes = ["""x"""", "]", \'\'\'y\'\'\'\', ']',
  """
fake3 = 1
"""]
after_quotes = 1
[[many]]
x = 1
[[many]]
x = 2
[many.inner]
y = 3
[[many.inner.more]]
z = 4
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("server",), 4),
        (("server", "quoted.name"), 4),
        (("server", "quoted.name", "port"), 5),
        (("server", "quoted.name", "single # quoted"), 6),
        (("tasks", "modules"), 9),
        (("tasks", "after_array"), 16),
        (("tasks", "text"), 17),
        (("tasks", "after_text"), 22),
        (("tasks", "literal"), 23),
        (("tasks", "after_literal"), 26),
        (("tasks", "after_literal", "d"), 26),
        (("tasks", "dotted", "k e y", "last"), 27),
        (("tasks", "after_quotes"), 32),
        (("many",), 33),
        (("many", "0", "x"), 34),
        (("many", "1"), 35),
        (("many", "1", "x"), 36),
        (("many", "1", "inner", "y"), 38),
        (("many", "1", "inner", "more", "0", "z"), 40),
    ],
)
def test_nothing_in_a_hard_document_confuses_the_lines(path: tuple[str, ...], line: int) -> None:
    tomllib.loads(HARD)
    assert line_of(path, locate(HARD)) == line


def test_what_looks_like_a_key_inside_of_a_value_is_none() -> None:
    assert {path for path in locate(HARD) if path[0] == "tasks"} == {
        ("tasks",),
        ("tasks", "modules"),
        ("tasks", "after_array"),
        ("tasks", "text"),
        ("tasks", "after_text"),
        ("tasks", "literal"),
        ("tasks", "after_literal"),
        ("tasks", "dotted"),
        ("tasks", "dotted", "k e y"),
        ("tasks", "dotted", "k e y", "last"),
        ("tasks", "quotes"),
        ("tasks", "after_quotes"),
    }
    assert {path[0] for path in locate(HARD)} == {"title", "server", "tasks", "many"}


def test_a_key_of_very_many_parts_has_the_line_of_those_around_it() -> None:
    key = ("k",) * 3000
    lines = locate("a = 1\n" + ".".join(key) + " = 1\n")
    assert line_of(key, lines) == 2
    assert len(lines) < 100


def test_windows_line_ends_count_once() -> None:
    text = "a = 1\r\n\r\n[b]\r\nc = 2\r\n"
    assert locate(text) == {("a",): 1, ("b",): 3, ("b", "c"): 4}


def test_a_key_that_is_nowhere_has_no_line() -> None:
    assert line_of(("x", "y"), locate("a = 1")) is None
    assert locate("") == {}
