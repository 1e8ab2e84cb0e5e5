"""How verbs print: plain in a pipe, in colours on a terminal; data to stdout, talk to stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import msgspec

from vera_client.answers import Answer

_STYLES: Final = {
    "completed": "green",
    "healthy": "green",
    "running": "cyan",
    "degraded": "yellow",
    "draining": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "unhealthy": "red",
}
# What a task says must not steer the terminal: control characters as their pictures.
_VISIBLE: Final = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {
    0x7F: 0x2421
}


def print_answer(answer: Answer) -> None:
    """Print what the worker answered, as it came."""
    click.echo(answer.body.decode(errors="replace").rstrip("\n"))


def print_json(value: Any) -> None:
    """Print a value as JSON: one line, or on a terminal laid out."""
    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text)
    click.echo(visible(text.decode()) if sys.stdout.isatty() else text)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print labelled values below each other; a value of many lines goes below its label."""
    fields = list(fields)
    width = max((len(label) for label, _ in fields), default=0)
    for label, value in fields:
        text = visible(value)
        if "\n" in text:
            click.secho(label, dim=True)
            click.echo("\n".join(f"  {line}" for line in text.splitlines()))
        else:
            name = click.style(label.ljust(width), dim=True)
            click.echo(f"{name}  {click.style(text, fg=_STYLES.get(text.partition(' ')[0]))}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; on a terminal it fits the width, in a pipe nothing is cut."""
    lines = [[visible(cell).replace("\n", " ") for cell in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo(columns([list(header), *lines]))
        return
    # rich takes longer to import than most verbs take to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for line in lines:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    Console().print(table)


def say(text: str) -> None:
    """Tell a person who watches; programs read stdout."""
    if sys.stderr.isatty():
        click.secho(visible(text), dim=True, err=True)


def visible(text: str) -> str:
    """Return `text` with its control characters as pictures."""
    return text.translate(_VISIBLE)


def percent(fraction: float) -> str:
    """Return a fraction as people say it."""
    return f"{fraction * 100:.0f} %"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def seconds(value: float) -> str:
    """Return a duration as people say it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes >= 2 else f"{value:.1f} s"  # noqa: PLR2004
