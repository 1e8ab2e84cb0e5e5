"""Arguments of a task as people write them: words on a command line, lines of a file."""

from typing import Any

import msgspec


def json_or_word(text: str) -> Any:
    """Return the value of JSON text; a word that is no JSON is a string. Raise ValueError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.ValidationError, RecursionError) as error:  # JSON, but not to be had
        raise ValueError(f"{_clip(text)} cannot be sent: {error}") from error
    except msgspec.DecodeError:
        return text
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!a} is not UTF-8") from error


def named_value(text: str) -> tuple[str, Any]:
    """Return name and value of `NAME=JSON`; raise ValueError where there is no name."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{_clip(text)} is not of the form NAME=JSON")
    return name, json_or_word(value)


def named_values(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return all named values; raise ValueError for a name that is given twice."""
    values: dict[str, Any] = {}
    for text in texts:
        name, value = named_value(text)
        if name in values:
            raise ValueError(f"{name} is given twice")
        values[name] = value
    return values


def arguments_of(line: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return args and kwargs of one NDJSON line: an array, an object, or the one argument."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if isinstance(value, dict):
        return [], value
    return (value if isinstance(value, list) else [value]), {}


def _clip(text: str, length: int = 60) -> str:
    return repr(text if len(text) <= length else f"{text[:length]}…")
