"""The keys of the schema by name, and the values of a configuration by key."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, get_type_hints

from vera_supervisor.config.faults import dotted
from vera_supervisor.config.keys import Key, keys_of
from vera_supervisor.config.pools import Pool
from vera_supervisor.config.schedules import Schedule
from vera_supervisor.config.schema import Config
from vera_supervisor.config.work import FunctionLimits

#: Where a key stands: its section and name, ("tasks", "functions", function, name),
#: ("pools", pool, name) or ("schedules", schedule, name).
KeyPath = tuple[str, ...]

#: The types of the sections by name.
SECTIONS: Final[Mapping[str, type[Any]]] = {
    name: hint
    for name, hint in get_type_hints(Config).items()
    if name not in ("pools", "schedules", "origins")
}

#: All keys by dotted name, each with the environment variable that sets it.
KEYS: Final[Mapping[str, Key]] = {
    f"{section}.{name}": replace(known, env=known.env or f"VERA_{section}__{name}".upper())
    for section, fields in SECTIONS.items()
    for name, known in keys_of(fields).items()
}

#: The keys of `[tasks.functions.NAME]` by name; no environment variable sets them.
FUNCTION_KEYS: Final[Mapping[str, Key]] = keys_of(FunctionLimits)

#: The keys of `[pools.NAME]` by name; no environment variable sets them.
POOL_KEYS: Final[Mapping[str, Key]] = keys_of(Pool)

#: The keys of one of the tables `[[schedules]]` by name; no environment variable sets them.
SCHEDULE_KEYS: Final[Mapping[str, Key]] = keys_of(Schedule)

#: Dotted names of the keys that take effect without a restart.
RELOADABLE: Final = frozenset(name for name, known in KEYS.items() if known.reloadable)


def flatten(config: Config) -> dict[KeyPath, tuple[Key, Any]]:
    """Return every key with its value, by path; of the functions only what is set."""
    flat: dict[KeyPath, tuple[Key, Any]] = {}
    for name, known in KEYS.items():
        section, leaf = name.split(".")
        flat[section, leaf] = (known, getattr(getattr(config, section), leaf))
    for function, limits in sorted(config.tasks.functions.items()):
        for leaf, known in FUNCTION_KEYS.items():
            if (value := getattr(limits, leaf)) is not None:
                flat["tasks", "functions", function, leaf] = (known, value)
    for pool, settings in sorted(config.pools.items()):
        for leaf, known in POOL_KEYS.items():
            flat["pools", pool, leaf] = (known, getattr(settings, leaf))
    for schedule in config.schedules:
        for leaf, known in SCHEDULE_KEYS.items():
            flat["schedules", schedule.name, leaf] = (known, getattr(schedule, leaf))
    return flat


def assemble(values: Mapping[KeyPath, Any], origins: Mapping[str, str]) -> Config:
    """Return the configuration that has these values, and defaults for the rest."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    functions: dict[str, dict[str, Any]] = {}
    pools: dict[str, dict[str, Any]] = {}
    schedules: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        match path:
            case ("pools", pool, leaf):
                pools.setdefault(pool, {})[leaf] = value
            case ("schedules", schedule, leaf):
                schedules.setdefault(schedule, {})[leaf] = value
            case (section, leaf):
                sections[section][leaf] = value
            case (_, _, function, leaf):
                functions.setdefault(function, {})[leaf] = value
    sections["tasks"]["functions"] = {
        name: FunctionLimits(**limits) for name, limits in functions.items()
    }
    return Config(
        **{name: SECTIONS[name](**values) for name, values in sections.items()},
        pools={name: Pool(**values) for name, values in pools.items()},
        schedules=tuple(Schedule(**values) for values in schedules.values()),
        origins=origins,
    )


def shown(config: Config) -> dict[str, Any]:
    """Return the values by dotted key as they may be shown to anyone: secrets are masked."""
    return {dotted(path): known.shown(value) for path, (known, value) in flatten(config).items()}


def explained(config: Config) -> dict[str, dict[str, Any]]:
    """Return the same, each value with its origin."""
    return {
        key: {"value": value, "origin": config.origins.get(key, "default")}
        for key, value in shown(config).items()
    }
