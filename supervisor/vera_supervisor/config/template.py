"""A fresh configuration file: every key at its default, and what it means."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import tomli_w

from vera_supervisor.config.faults import dotted
from vera_supervisor.config.key_paths import (
    FUNCTION_KEYS,
    KEYS,
    POOL_KEYS,
    SCHEDULE_KEYS,
    SECTIONS,
)
from vera_supervisor.config.keys import Key
from vera_supervisor.config.pools import Pool
from vera_supervisor.config.schedules import Schedule
from vera_supervisor.config.work import FunctionLimits

_HEAD: Final = """\
# Configuration of vera-worker: every key, at its default.
#
# The environment wins over this file: the variable of a key stands in brackets behind its
# sentence, and is VERA_<SECTION>__<KEY> where none stands. A key marked "reloadable" takes effect
# with `vera-worker reload`, any other with a restart. Durations are numbers of seconds or texts
# such as "30s", "5m", "2h"; sizes are numbers of bytes or texts such as "64KiB", "512MiB", "1GB".
"""


def template() -> str:
    """Return the text of a configuration file that changes nothing."""
    sections = (_section(name, type_.__doc__) for name, type_ in SECTIONS.items())
    tables = (
        _commented_out("[tasks.functions.analyze_data]", FunctionLimits.__doc__, FUNCTION_KEYS),
        _commented_out("[pools.gpu]", Pool.__doc__, POOL_KEYS),
        _commented_out("[[schedules]]", Schedule.__doc__, SCHEDULE_KEYS),
    )
    return "\n".join((_HEAD, *sections, *tables))


def _section(section: str, about: str | None) -> str:
    keys = {
        name.removeprefix(f"{section}."): key
        for name, key in KEYS.items()
        if name.startswith(f"{section}.")
    }
    return "\n".join((f"# {about}", f"[{section}]", *_entries(keys)))


def _commented_out(head: str, about: str | None, keys: Mapping[str, Key]) -> str:
    """Return one of the tables of which there may be many; a fresh file has none of them."""
    entries: list[str] = []
    for name, key in keys.items():
        value = key.kind.to_toml(key.default) if key.example is None else key.example
        mark = " [reloadable]" if key.reloadable else ""
        entries.append(f"# {key.about}{mark}\n# {name} = {_inline(value)}\n")
    return "\n".join((f"# {about}", f"# {head}", *entries))


def _inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{dotted((name,))} = {_inline(one)}" for name, one in value.items())
        return f"{{{pairs}}}"
    return json.dumps(value)


def _entries(keys: Mapping[str, Key]) -> Iterator[str]:
    for name, key in keys.items():
        variable = "" if key.env.startswith("VERA_") else key.env
        marks = ", ".join(filter(None, (variable, "reloadable" if key.reloadable else "")))
        yield f"# {key.about}" + (f" [{marks}]" if marks else "")
        if key.default is None:
            yield f"# {name} = {_inline(key.example)}\n"
        else:
            yield tomli_w.dumps({name: key.kind.to_toml(key.default)})
