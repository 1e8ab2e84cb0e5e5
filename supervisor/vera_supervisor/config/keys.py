"""How the schema declares a key: its default, its kind and its sentence, in one place."""

from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from vera_supervisor.config.kinds import Kind

T = TypeVar("T")

#: Stands wherever a secret would.
MASK: Final = "********"

_KEY: Final = "key"


@dataclass(frozen=True, kw_only=True)
class Key:
    """All that is known of one key besides its name."""

    kind: Kind[object]
    default: object
    #: What the key means, in one sentence.
    about: str
    #: The environment variable that sets it; empty where none can.
    env: str = ""
    #: Whether a change takes effect without a restart.
    reloadable: bool = False
    #: Whether the value must not be shown.
    secret: bool = False
    #: Whether there must be a value, for there is no default.
    required: bool = False
    #: A value to show where there is no default, or none that says much.
    example: object = None

    def shown(self, value: object) -> object:
        """Return a typed value as it may be shown: as in TOML, unless it is a secret."""
        if value is None:
            return None
        return MASK if self.secret else self.kind.to_toml(value)


def key(
    default: T,
    kind: Kind[T],
    about: str,
    *,
    env: str = "",
    reloadable: bool = False,
    secret: bool = False,
    example: object = None,
) -> T:
    """Declare a field of a section; the type checker holds type, default and kind together."""
    declared = Key(
        kind=kind,
        default=default,
        about=about,
        env=env,
        reloadable=reloadable,
        secret=secret,
        example=example,
    )
    return field(default=default, repr=not secret, metadata={_KEY: declared})


def required(kind: Kind[T], about: str, *, example: object) -> T:
    """Declare a field that has no default."""
    declared = Key(kind=kind, default=None, about=about, required=True, example=example)
    declaration: T = field(metadata={_KEY: declared})
    return declaration


def keys_of(section: type[Any]) -> dict[str, Key]:
    """Return the keys that a section declares, by name and in order."""
    return {f.name: f.metadata[_KEY] for f in fields(section) if _KEY in f.metadata}
