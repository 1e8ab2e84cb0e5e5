"""Reads what is common to many requests: a JSON body, a number or a flag in the query."""

import math
from typing import Final

from quart import request

from vera_supervisor.api.problems import Problem

_JSON = "application/json"
#: How a flag is set, and how it is not.
FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


async def json_body(*, also: str | None = None) -> bytes:
    """Return the body of a request that says it is JSON; raise a Problem where it does not.

    `also` is another type that would have been taken.
    """
    if request.mimetype != _JSON:
        raise Problem(415, f"send Content-Type: {_JSON}" + (f" or {also}" if also else ""))
    body = await request.get_data(cache=False, as_text=False)
    assert isinstance(body, bytes)
    return body


def query_text(name: str) -> str | None:
    """Return what the query says under that name, if anything."""
    if not request.query_string:  # the usual case, and to take none apart costs a good deal
        return None
    args = request.args
    return args[name] if name in args else None  # noqa: SIM401 - get() makes an exception of none


def query_number(name: str, default: float, most: float, *, least: float = 0) -> float:
    """Return a number of the query; more than `most` is cut to it, what is no number refused."""
    text = query_text(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise Problem(422, f"{name}: a number from {least:g} on is expected", field=name)
    return min(value, most)


def query_flag(name: str) -> bool:
    """Return whether the query sets a flag, as `?name=1` or `?name=true` does."""
    text = query_text(name)
    if text is None:
        return False
    if text not in FLAGS:
        raise Problem(422, f"{name}: one of {', '.join(FLAGS)} is expected", field=name)
    return FLAGS[text]
