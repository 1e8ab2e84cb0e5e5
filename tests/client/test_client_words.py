"""Arguments as people write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_client.commands.words import arguments_of, json_or_word, named_value, named_values

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text().filter(str.isidentifier) | st.sampled_from(["mode", "größe", "_x", "class"])


@given(VALUES)
def test_json_is_the_value_that_it_stands_for(value: object) -> None:
    assert json_or_word(json.dumps(value)) == value


@given(st.text())
def test_what_is_no_json_is_the_word_itself(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        expected = text
    assert json_or_word(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fast", "fast"),
        ('"fast"', "fast"),
        ("5", 5),
        ('"5"', "5"),
        (" -5", -5),
        ("true", True),
        ("True", "True"),
        ("NaN", "NaN"),
        ("", ""),
        ("/etc/hosts", "/etc/hosts"),
        ("[1, 2", "[1, 2"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_words_and_json_side_by_side(text: str, value: object) -> None:
    assert json_or_word(text) == value


@pytest.mark.parametrize("text", ["1e400", "\udcff", "[" * 100_000])
def test_what_cannot_travel_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be sent|is not UTF-8"):
        json_or_word(text)


@given(NAMES, VALUES)
def test_a_named_value_is_cut_at_its_first_equals_sign(name: str, value: object) -> None:
    assert named_value(f"{name}={json.dumps(value)}") == (name, value)


def test_a_named_word_may_have_further_equals_signs() -> None:
    assert named_value("query=a=b") == ("query", "a=b")


@pytest.mark.parametrize("text", ["mode", "=1", "a b=1", "1=2", ""])
def test_a_name_is_needed(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=JSON"):
        named_value(text)


def test_a_name_is_given_once() -> None:
    assert named_values(("a=1", "b=x")) == {"a": 1, "b": "x"}
    with pytest.raises(ValueError, match="a is given twice"):
        named_values(("a=1", "b=2", "a=3"))


@given(VALUES)
def test_a_line_is_args_or_kwargs_or_one_argument(value: object) -> None:
    args, kwargs = arguments_of(json.dumps(value).encode())
    match value:
        case dict():
            assert (args, kwargs) == ([], value)
        case list():
            assert (args, kwargs) == (value, {})
        case _:
            assert (args, kwargs) == ([value], {})


@given(st.binary())
def test_a_line_is_read_or_a_value_error(line: bytes) -> None:
    try:
        args, kwargs = arguments_of(line)
    except ValueError:
        return
    assert not (args and kwargs)
