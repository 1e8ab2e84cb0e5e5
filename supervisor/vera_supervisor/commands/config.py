"""`vera-worker config`: check, show and write the configuration."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from vera_supervisor.config import ConfigError, Loaded, explained, load
from vera_supervisor.config.faults import one_line
from vera_supervisor.config.template import template

_UNUSABLE: Final = 2


@click.group()
def config() -> None:
    """Check, show and write the configuration."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Check FILE, or what `serve` would read.

    Every fault is named with its line.
    """
    loaded = _load(file)
    click.echo(one_line(f"OK {loaded.file or '(no file: defaults and environment)'}"))


@config.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="The file to read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(file: Path | None, *, as_json: bool) -> None:
    """Show the values in force and their origins.

    Secrets are masked.
    """
    loaded = _load(file)
    values = explained(loaded.config)
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        rows = [(key, _words(of["value"]), of["origin"]) for key, of in values.items()]
        click.echo(_table([("KEY", "VALUE", "FROM"), *rows]))


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def init(file: Path) -> None:
    """Write a fresh configuration to FILE.

    What exists already is never overwritten.
    """
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template())
    except FileExistsError:
        _refuse([f"{file}: this exists already, and it is not overwritten"])
    except OSError as error:
        _refuse([f"{file}: cannot be written: {(error.strerror or str(error)).lower()}"])
    click.echo(one_line(f"wrote {file}"))


def _load(file: Path | None) -> Loaded:
    try:
        return load(file, os.environ, {})
    except ConfigError as error:
        _refuse(map(str, error.faults))


def _refuse(reasons: Iterable[str]) -> NoReturn:
    for reason in reasons:
        click.echo(one_line(reason), err=True)
    raise SystemExit(_UNUSABLE)


def _words(value: Any) -> str:
    match value:
        case None:
            return "-"
        case list():
            return ", ".join(map(_words, value)) or "-"
        case dict():
            return json.dumps(value) if value else "-"
    return str(value)


def _table(rows: list[tuple[str, str, str]]) -> str:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        one_line(f"{key:<{first}}  {value:<{second}}  {origin}") for key, value, origin in rows
    )
