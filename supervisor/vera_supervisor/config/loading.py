"""From all sources to one checked configuration, or to everything that is wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from vera_supervisor.config.faults import ConfigError, Fault, dotted, quoted
from vera_supervisor.config.key_paths import (
    POOL_KEYS,
    SCHEDULE_KEYS,
    KeyPath,
    assemble,
    flatten,
)
from vera_supervisor.config.kinds import UnfitError
from vera_supervisor.config.pools import GPU_VARIABLE
from vera_supervisor.config.schema import Config
from vera_supervisor.config.settings import Setting, from_environment, from_flags
from vera_supervisor.config.toml_file import find_file, from_file

#: The keys of tables of which there may be many; one key of such a table brings all others.
_OF_TABLES: Final = {"pools": POOL_KEYS, "schedules": SCHEDULE_KEYS}
_LONGEST_TIMEOUT: Final = ("limits", "max_task_timeout")
#: Keys that must not exceed another one.
_BOUNDED: Final = (
    (("executor", "min_workers"), ("executor", "max_workers")),
    (("limits", "task_timeout"), _LONGEST_TIMEOUT),
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A configuration, and the file that it is of."""

    config: Config
    #: The file that was read, if any.
    file: Path | None


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Loaded:
    """Return the configuration of file, environment and flags; raise ConfigError with all faults.

    `path` is a file that the command line names, `overrides` what its flags set, by dotted key;
    None stands for a flag that was not given. A name there that is no key is a KeyError: only
    the program itself can have written it.
    """
    file = find_file(path, environ)
    found = chain(from_file(file) if file else (), from_environment(environ), from_flags(overrides))
    merged = _Merged()
    judged = [one if isinstance(one, Fault) else merged.take(one) for one in found]
    faults = [fault for fault in (*judged, *merged.settle()) if fault]
    if faults:
        raise ConfigError(faults)
    return Loaded(config=assemble(merged.values, merged.origins()), file=file)


class _Merged:
    """The values in force while sources are taken in, the weakest first."""

    def __init__(self) -> None:
        defaults = flatten(Config())
        self.values: dict[KeyPath, Any] = {path: value for path, (_, value) in defaults.items()}
        self._settings: dict[KeyPath, Setting] = {}
        self._unfit: set[KeyPath] = set()
        self._capped: dict[KeyPath, KeyPath] = {}

    def take(self, setting: Setting) -> Fault | None:
        """Let a setting replace what stood before, or return why it cannot."""
        for leaf, key in _OF_TABLES.get(setting.path[0], {}).items():
            self.values.setdefault((*setting.path[:2], leaf), key.default)
        try:
            self.values[setting.path] = setting.read()
        except UnfitError as error:
            self._unfit.add(setting.path)
            return setting.unfit(error)
        self._unfit.discard(setting.path)
        self._settings[setting.path] = setting
        return None

    def settle(self) -> Iterator[Fault]:
        """Let defaults give way to the keys that bound them; yield what else exceeds its bound."""
        pools = sorted({path[1] for path in self.values if path[0] == "pools"})
        yield from self._settle_gpus(pools)
        yield from self._settle_functions(pools)
        sizes = [(("pools", p, "min_workers"), ("pools", p, "max_workers")) for p in pools]
        for path, bound in (*_BOUNDED, *sizes, *self._further_timeouts()):
            if self._unfit & {path, bound} or self.values[path] <= self.values[bound]:
                continue
            if setting := self._settings.get(path):
                most = setting.key.shown(self.values[bound])
                expected = f"at most {dotted(bound)}, which is {most} ({self._origin(bound)})"
                yield setting.fault(expected, quoted(setting.key.shown(self.values[path])))
            else:
                self.values[path] = self.values[bound]
                self._capped[path] = bound

    def _settle_gpus(self, pools: list[str]) -> Iterator[Fault]:
        """Give each pool as many executors as GPUs, if it has any and nothing else is said."""
        for pool in pools:
            gpus = ("pools", pool, "gpus")
            most = ("pools", pool, "max_workers")
            if not self.values[gpus] or self._unfit & {gpus, most}:
                continue
            variables = ("pools", pool, "environment")
            said = self._settings.get(variables)
            if said is not None and GPU_VARIABLE in self.values[variables]:
                expected = f"no {GPU_VARIABLE}, which {dotted(gpus)} gives each executor"
                yield said.fault(expected, quoted(GPU_VARIABLE))
            count, setting = len(self.values[gpus]), self._settings.get(most)
            if setting is None:
                self.values[most] = count
            elif self.values[most] > count:
                expected = f"at most {count}, one for each of {dotted(gpus)}"
                yield setting.fault(expected, quoted(self.values[most]))

    def _settle_functions(self, pools: list[str]) -> Iterator[Fault]:
        """Yield what is wrong with functions that more than one pool claims."""
        owners: dict[str, str] = {}
        for pool in pools:
            path = ("pools", pool, "functions")
            setting = self._settings.get(path)
            for function in self.values[path] or () if setting else ():
                owner = owners.setdefault(function, pool)
                if owner != pool and setting:
                    found = f"{quoted(function)}, which {dotted(('pools', owner))} has"
                    yield setting.fault("functions of no other pool", found)

    def origins(self) -> dict[str, str]:
        """Return where each came from: "default", "worker.toml:12", "MAX_WORKERS", "--port"."""
        return {dotted(path): self._origin(path) for path in self.values}

    def _origin(self, path: KeyPath) -> str:
        if setting := self._settings.get(path):
            return setting.origin
        bound = self._capped.get(path)
        return f"default, capped by {dotted(bound)}" if bound else "default"

    def _further_timeouts(self) -> list[tuple[KeyPath, KeyPath]]:
        return [
            (path, _LONGEST_TIMEOUT)
            for path, value in self.values.items()
            if path[:-2] in {("tasks", "functions"), ("schedules",)}
            and path[-1] == "timeout"
            and value is not None
        ]
