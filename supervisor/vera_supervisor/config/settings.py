"""Values as the environment and the command line give them, each with where it stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vera_supervisor.config.faults import Fault, dotted, nearest, quoted
from vera_supervisor.config.key_paths import KEYS, KeyPath
from vera_supervisor.config.keys import Key
from vera_supervisor.config.kinds import UnfitError

_PREFIX: Final = "VERA_"
_BETWEEN: Final = "__"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value that some source gives to a key, not yet checked."""

    path: KeyPath
    key: Key
    #: Never repeated in a repr: it may be a secret.
    value: object = field(repr=False)
    source: str
    line: int | None = None

    @property
    def origin(self) -> str:
        """Where the value stands, e.g. "config/worker.toml:12", "MAX_WORKERS" or "--port"."""
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def read(self) -> Any:
        """Return the typed value; raise UnfitError if it is not what the key wants."""
        return self.key.kind.read(self.value)

    def unfit(self, error: UnfitError) -> Fault:
        """Return the fault of a value that could not be read."""
        return self.fault(self.key.kind.expected, quoted(error.found, secret=self.key.secret))

    def fault(self, expected: str, found: str) -> Fault:
        """Return the fault that the value is not as expected."""
        return Fault(
            source=self.source,
            line=self.line,
            key=dotted(self.path),
            message=f"expected {expected}, found {found}",
        )


def from_environment(environ: Mapping[str, str]) -> Iterator[Setting | Fault]:
    """Yield what environment variables set; an empty one counts as not set."""
    names = {key.env: name for name, key in KEYS.items()}
    for variable, text in sorted(environ.items()):
        value = text.strip()
        if value and variable in names:
            yield _from_text(names[variable], value, variable)
        elif value and variable.startswith(_PREFIX) and _BETWEEN in variable:
            yield _unknown_variable(variable)


def from_flags(overrides: Mapping[str, object]) -> Iterator[Setting]:
    """Yield what flags set; None stands for a flag that was not given."""
    for name, value in overrides.items():
        flag = "--" + name.rpartition(".")[2].replace("_", "-")
        if isinstance(value, str):
            yield _from_text(name, value, flag)
        elif value is not None:
            yield Setting(path=tuple(name.split(".")), key=KEYS[name], value=value, source=flag)


def _from_text(name: str, text: str, source: str) -> Setting:
    key = KEYS[name]
    value = key.kind.from_text(text)
    return Setting(path=tuple(name.split(".")), key=key, value=value, source=source)


def _unknown_variable(variable: str) -> Fault:
    meant = variable.removeprefix(_PREFIX).replace(_BETWEEN, ".").lower()
    close = nearest(meant, KEYS)
    return Fault(
        source=variable,
        message="no key has this environment variable",
        nearest=KEYS[close].env if close else None,
    )
