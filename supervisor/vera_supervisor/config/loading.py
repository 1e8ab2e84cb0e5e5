"""From all sources to one checked configuration, or to everything that is wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from vera_supervisor.config.faults import ConfigError, Fault, dotted, quoted
from vera_supervisor.config.key_paths import KEYS, SCHEDULE_KEYS, KeyPath, assemble, flatten
from vera_supervisor.config.kinds import UnfitError
from vera_supervisor.config.schema import Config
from vera_supervisor.config.settings import Setting, from_environment, from_flags
from vera_supervisor.config.toml_file import find_file, from_file

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
        if setting.path[0] == "schedules":
            for leaf, key in SCHEDULE_KEYS.items():
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
        for path, bound in (*_BOUNDED, *self._further_timeouts()):
            if self._unfit & {path, bound} or self.values[path] <= self.values[bound]:
                continue
            if setting := self._settings.get(path):
                most = KEYS[dotted(bound)].shown(self.values[bound])
                expected = f"at most {dotted(bound)}, which is {most} ({self._origin(bound)})"
                yield setting.fault(expected, quoted(setting.key.shown(self.values[path])))
            else:
                self.values[path] = self.values[bound]
                self._capped[path] = bound

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
