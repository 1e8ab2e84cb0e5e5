"""On which line of a TOML text each key stands, which `tomllib` does not tell.

The text must be valid TOML: it is split into statements, not checked. A statement is a table's
header or a key with its value; a value ends at the first line end outside of its strings, arrays
and inline tables. What stands in an array of tables has the index of its table in its path. Keys
inside of an inline table have the line of the key that holds it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final

#: Deeper keys have the line of the key around them, or one key of a million dots would fill memory.
_DEEPEST: Final = 16

_BASIC_STRING: Final = r'"(?:\\.|[^"\\\n])*"'
_LITERAL_STRING: Final = r"'[^'\n]*'"
# Up to two quotes may stand right before the closing three: the last three in a row close.
_LONG_BASIC_STRING: Final = r'"""(?:\\[\s\S]|[^\\])*?"""(?!")'
_LONG_LITERAL_STRING: Final = r"'''[\s\S]*?'''(?!')"
_NAME: Final = rf"(?:[A-Za-z0-9_-]+|{_BASIC_STRING}|{_LITERAL_STRING})"
_KEY: Final = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"

_STATEMENT: Final = re.compile(
    rf"[ \t]*(?:\[(?P<many>\[?)[ \t]*(?P<table>{_KEY})|(?P<key>{_KEY})[ \t]*=)"
)
# Strings come before the marks, so that a mark inside of a string is none.
_IN_VALUE: Final = re.compile(
    rf"{_LONG_BASIC_STRING}|{_LONG_LITERAL_STRING}|{_BASIC_STRING}|{_LITERAL_STRING}"
    r"|#[^\n]*|[\[{\]}\n]"
)


def locate(text: str) -> dict[tuple[str, ...], int]:
    """Return the line, from 1, on which each table and key first stands, by its full path."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for line, name, opens in _statements(text):
        if opens is None:
            path = (*table, *_parts(name))
        else:
            path = table = _table(_parts(name), counts, is_new=opens == "[[")
        for depth in range(1, min(len(path), _DEEPEST) + 1):
            lines.setdefault(path[:depth], line)
    return lines


def line_of(path: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> int | None:
    """Return the line of a key, or of the nearest key around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _table(
    names: tuple[str, ...], counts: dict[tuple[str, ...], int], *, is_new: bool
) -> tuple[str, ...]:
    """Return the path of a table by its header; `counts` has the tables of each array so far."""
    path: tuple[str, ...] = ()
    for depth, name in enumerate(names, 1):
        path = (*path, name)
        if is_new and depth == len(names):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, str(counts[path] - 1))
    return path


def _statements(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield the line of each statement, its key as written, and the brackets of a table."""
    at, line = 0, 1
    while at < len(text):
        statement = _STATEMENT.match(text, at)
        if statement and statement["table"]:
            yield line, statement["table"], "[" + statement["many"]
            end = _end_of_line(text, statement.end())
        elif statement:
            yield line, statement["key"], None
            end = _end_of_value(text, statement.end())
        else:
            end = _end_of_line(text, at)
        line += text.count("\n", at, end)
        at = end


def _end_of_line(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    for token in _IN_VALUE.finditer(text, at):
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        elif token[0] == "\n" and depth == 0:
            return token.end()
    return len(text)


def _parts(key: str) -> tuple[str, ...]:
    """Return the names of a dotted key, unquoted by the one who knows how."""
    names: list[str] = []
    value: object = tomllib.loads(f"{key} = 0")
    while isinstance(value, dict):
        ((name, value),) = value.items()
        names.append(name)
    return tuple(names)
