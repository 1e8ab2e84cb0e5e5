"""`map`: one task per line."""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import anyio
import click
import msgspec

from vera_client import calls
from vera_client.async_client import AsyncClient
from vera_client.calls import Options
from vera_client.commands import bars, screen, words
from vera_client.commands.common import ClientCommand, Exit, Seconds, Target, on_worker
from vera_client.errors import ending_of
from vera_client.mapping import Mapper, Put, in_order
from vera_client.patience import Patience
from vera_client.records import TaskRecord
from vera_worker.tasks import Priority

_READ_BYTES = 1 << 16


class Line(NamedTuple):
    """One line of the file, as the arguments that it stands for."""

    number: int
    args: list[Any]
    kwargs: dict[str, Any]


#: A line, and what became of its task.
Ending: TypeAlias = tuple[Line, TaskRecord]


@click.command(name="map", cls=ClientCommand)
@click.argument("function")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--priority", type=click.Choice([*map(str, Priority)]), help="Their class.")
@click.option("--timeout", type=Seconds(min=0, min_open=True), help="Seconds each may take.")
@click.option(
    "--in-flight",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Tasks submitted and not ended, at most.",
)
@click.option(
    "--patience",
    type=Seconds(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for a worker that drains or restarts.",
)
@on_worker
def map_tasks(
    target: Target,
    *,
    function: str,
    file: BinaryIO,
    priority: str | None,
    timeout: float | None,
    in_flight: int,
    patience: float,
) -> None:
    """Call FUNCTION once per NDJSON line of FILE or stdin, print the results in the same order.

    A line that is an array has the arguments, an object the named ones; any other value is the one
    argument. A call that failed prints null, and why on stderr; with --json, each line is a record.
    A full queue is waited for.
    """
    options: Options = {"priority": priority, "timeout": timeout}
    with bars.progress() as bar:
        report = _Report(bar, function, count(file), as_json=target.as_json)

        async def everything() -> None:
            async with target.connect(AsyncClient, connections=in_flight) as worker:
                mapper = Mapper(worker, Patience(patience), on_delay=report.delayed)

                async def run(lines: Sequence[Line], put: Put[Ending]) -> None:
                    tasks = [calls.submission(function, *line[1:], options) for line in lines]
                    await mapper.run_all(tasks, lambda at, record: put(at, (lines[at], record)))

                await in_order(lines_of(file), run, report.ended, in_flight)

        anyio.run(everything)
    if report.failed:
        click.get_current_context().exit(Exit.TASK_FAILED)


class _Report:
    """Prints each result as its turn comes, and moves the bar."""

    def __init__(
        self, bar: bars.Progress, function: str, total: int | None, *, as_json: bool
    ) -> None:
        self._bar = bar
        self._function = function
        self._bar_id = bar.add_task(function, total=total)
        self._as_json = as_json
        self.failed = 0

    def ended(self, ending: Ending) -> None:
        line, record = ending
        click.echo(msgspec.json.encode(record if self._as_json else record.result).decode())
        if not record.completed:
            self.failed += 1
            said = ending_of(record) if record.task_id else str(record.error)
            self._bar.console.print(screen.visible(f"line {line.number}: {said}"), soft_wrap=True)
        self._bar.update(self._bar_id, advance=1, description=self._function)

    def delayed(self, error: Exception, delay_s: float) -> None:
        said = f"next try in {screen.seconds(delay_s)}: {error}"
        self._bar.update(self._bar_id, description=screen.visible(said))


def parsed(number: int, text: bytes) -> Line | None:
    """Return what a line stands for, None for an empty one; raise UsageError if it is no JSON."""
    if not text.strip():
        return None
    try:
        return Line(number, *words.arguments_of(text))
    except ValueError as error:
        raise click.UsageError(f"line {number}: {error}") from error


def count(file: BinaryIO) -> int | None:
    """Return how many calls a file holds, all of them in order; None for a pipe.

    So a fault in the last line shows before anything is sent.
    """
    if not file.seekable():
        return None
    start = file.tell()
    total = sum(parsed(number, text) is not None for number, text in enumerate(file, 1))
    file.seek(start)
    return total


async def lines_of(file: BinaryIO) -> AsyncIterator[list[Line]]:
    """Yield what each line stands for, some at a time, of a pipe as soon as they have come."""
    number = 0
    async for texts in _texts(file):
        lines = [parsed(number, text) for number, text in enumerate(texts, number + 1)]
        number += len(texts)
        yield [line for line in lines if line]


async def _texts(file: BinaryIO) -> AsyncIterator[list[bytes]]:
    if file.seekable():
        while texts := file.readlines(_READ_BYTES):
            yield texts
        return
    # Not in a thread: one that waits for a silent pipe would outlive an interrupt.
    pipe, rest = file.fileno(), bytearray()
    while True:
        await anyio.wait_readable(pipe)
        piece = os.read(pipe, _READ_BYTES)
        rest += piece
        if b"\n" in piece or not piece:
            *whole, rest = rest.split(b"\n")
            yield [bytes(part) for part in whole]
        if not piece:
            yield [bytes(rest)]
            return
