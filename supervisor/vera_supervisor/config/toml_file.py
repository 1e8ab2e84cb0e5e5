"""The configuration file: which one it is, what it holds, and on which line."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vera_supervisor.config.faults import Fault, dotted, nearest, quoted
from vera_supervisor.config.key_paths import (
    FUNCTION_KEYS,
    KEYS,
    POOL_KEYS,
    SCHEDULE_KEYS,
    SECTIONS,
    KeyPath,
)
from vera_supervisor.config.keys import Key
from vera_supervisor.config.settings import Setting
from vera_supervisor.config.texts import POOL_NAME, SCHEDULE_NAME
from vera_supervisor.config.toml_lines import line_of, locate

#: Where the file is looked for when nobody names one; the first that exists is taken.
USUAL_PLACES: Final = (Path("config/worker.toml"), Path("/etc/vera-worker/worker.toml"))
#: Names the file where the command line does not.
FILE_VARIABLE: Final = "VERA_CONFIG"

_LARGEST_BYTES: Final = 2**20
_FUNCTIONS: Final = "tasks.functions"
_POOLS: Final = "pools"
_SCHEDULES: Final = "schedules"
_POSITION: Final = re.compile(
    r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL
)


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the named one, even if it is missing, or a usual one, or None."""
    if path is not None:
        return path
    if named := environ.get(FILE_VARIABLE, "").strip():
        return Path(named)
    return next(filter(_may_exist, USUAL_PLACES), None)


def from_file(file: Path) -> Iterator[Setting | Fault]:
    """Yield what the file sets, and what is wrong with it, in the order of its lines."""
    text = _text_of(file)
    document = text if isinstance(text, Fault) else _parse(text, str(file))
    if isinstance(document, Fault):
        yield document
    elif isinstance(text, str):
        found = _Reader(str(file), locate(text)).settings(document)
        yield from sorted(found, key=lambda one: one.line or 0)


def _may_exist(file: Path) -> bool:
    """Return False only where there is surely nothing: what cannot be read is to be reported."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _text_of(file: Path) -> str | Fault:
    source = str(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return Fault(source=source, message="there is no such file")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Fault(source=source, message=f"the file cannot be read: {reason}")
    if len(content) > _LARGEST_BYTES:
        return Fault(source=source, message="the file is larger than 1MiB")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"found byte 0x{content[error.start]:02x}"
        return Fault(source=source, line=line, message=f"expected UTF-8 text, {found}")


def _parse(text: str, source: str) -> dict[str, Any] | Fault:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.fullmatch(str(error))
        reason = position[1] if position else str(error)
        line = int(position[2]) if position and position[2] else text.count("\n") + 1
        return Fault(source=source, line=line, message=f"not valid TOML: {reason}")
    except RecursionError:
        return Fault(source=source, message="not valid TOML: values are nested too deeply")
    except ValueError:
        # Python refuses to convert thousands of digits, which no grammar forbids.
        return Fault(source=source, message="not valid TOML: a number has too many digits")


class _Reader:
    """Walks through a parsed file and holds each name against the schema."""

    def __init__(self, source: str, lines: Mapping[KeyPath, int]) -> None:
        self._source = source
        self._lines = lines

    def settings(self, document: dict[str, Any]) -> Iterator[Setting | Fault]:
        for section, content in document.items():
            if section == _SCHEDULES:
                yield from self._schedules(content)
            elif section == _POOLS:
                yield from self._tables((section,), content, POOL_KEYS)
            elif section in SECTIONS and isinstance(content, dict):
                yield from self._section(section, content)
            elif section in SECTIONS:
                yield self._no_table((section,), content)
            elif isinstance(content, dict | list):
                yield self._unknown((section,), {*SECTIONS, _POOLS, _SCHEDULES}, "section")
            else:
                yield self._unknown((section,), KEYS)

    def _section(self, section: str, content: dict[str, Any]) -> Iterator[Setting | Fault]:
        for leaf, value in content.items():
            path = (section, leaf)
            if dotted(path) == _FUNCTIONS:
                yield from self._tables(path, value, FUNCTION_KEYS)
            elif known := KEYS.get(dotted(path)):
                yield self._setting(path, known, value)
            else:
                yield self._unknown(path, {*KEYS, _FUNCTIONS})

    def _tables(
        self, path: KeyPath, tables: object, keys: Mapping[str, Key]
    ) -> Iterator[Setting | Fault]:
        """Yield what is set in tables that have names of their user's choice."""
        if not isinstance(tables, dict):
            yield self._no_table(path, tables)
            return
        for name, content in tables.items():
            if path == (_POOLS,) and not POOL_NAME.fits(name):
                yield self._fault((*path, name), f"expected {POOL_NAME.expected}")
            elif isinstance(content, dict):
                yield from self._table((*path, name), content, keys)
            else:
                yield self._no_table((*path, name), content)

    def _table(
        self,
        path: KeyPath,
        content: dict[str, Any],
        keys: Mapping[str, Key],
        place: KeyPath | None = None,
    ) -> Iterator[Setting | Fault]:
        """Yield what is set in one of these; `place` is its path with its index, if it has one."""
        place = place or path
        for leaf, value in content.items():
            if known := keys.get(leaf):
                yield self._setting((*path, leaf), known, value, (*place, leaf))
            else:
                meant = nearest(dotted((*path, leaf)), [dotted((*path, name)) for name in keys])
                yield self._fault((*path, leaf), "unknown key", meant, (*place, leaf))
        for leaf, known in keys.items():
            if known.required and leaf not in content:
                message = f"expected {known.kind.expected}, found nothing"
                yield self._fault((*path, leaf), message, place=place)

    def _schedules(self, schedules: object) -> Iterator[Setting | Fault]:
        if not isinstance(schedules, list) or not all(isinstance(one, dict) for one in schedules):
            found = quoted(schedules, secret=True)
            yield self._fault((_SCHEDULES,), f"expected tables [[schedules]], found {found}")
            return
        names: set[str] = set()
        for index, content in enumerate(schedules):
            name = content.get("name")
            known = isinstance(name, str) and SCHEDULE_NAME.fits(name)
            # By its name if it has one that can be shown, else by its place from 1.
            path = (_SCHEDULES, name if known else str(index + 1))
            place = (_SCHEDULES, str(index))
            if known and name in names:
                message = f"expected a name of its own, found that of another: {quoted(name)}"
                yield self._fault((*path, "name"), message, place=(*place, "name"))
                continue
            names.add(path[1])
            yield from self._table(path, content, SCHEDULE_KEYS, place)

    def _setting(
        self, path: KeyPath, key: Key, value: object, place: KeyPath | None = None
    ) -> Setting:
        line = line_of(place or path, self._lines)
        return Setting(path=path, key=key, value=value, source=self._source, line=line)

    def _unknown(self, path: KeyPath, known: Collection[str], what: str = "key") -> Fault:
        name = dotted(path)
        return self._fault(path, f"unknown {what}", nearest(name, known))

    def _no_table(self, path: KeyPath, found: object) -> Fault:
        return self._fault(path, f"expected a table, found {quoted(found, secret=True)}")

    def _fault(
        self,
        path: KeyPath,
        message: str,
        meant: str | None = None,
        place: KeyPath | None = None,
    ) -> Fault:
        line = line_of(place or path, self._lines)
        return Fault(
            source=self._source, line=line, key=dotted(path), message=message, nearest=meant
        )
