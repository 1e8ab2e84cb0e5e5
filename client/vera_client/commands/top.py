"""`top`: a live view of one worker."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from vera_client import calls
from vera_client.client import Client
from vera_client.commands import bars, screen
from vera_client.commands.common import ClientCommand, Seconds, Target, on_worker, sentence
from vera_client.commands.frame import Glance, frame
from vera_client.errors import ClientError

_PLAIN_WIDTH = 100


@click.command(cls=ClientCommand)
@click.option("--once", is_flag=True, help="Print one frame and leave.")
@click.option(
    "--interval",
    type=Seconds(min=0.1),
    default=2,
    show_default=True,
    help="Seconds between two looks.",
)
@on_worker
def top(target: Target, *, once: bool, interval: float) -> None:
    """Watch a worker: executors, queue by priority, resources, last failures. Ctrl-C leaves."""
    console = bars.console()
    with target.client() as worker:
        if target.as_json:
            screen.print_json(_as_json(worker))
        elif once or not console.is_terminal:
            if not console.is_terminal:
                console.width = _PLAIN_WIDTH
            console.print(frame(look(worker), _now()))
        else:
            watch(worker, console, interval)


def look(worker: Client) -> Glance:
    """Ask the worker for everything that a frame shows."""
    return Glance(
        worker.health(),
        worker.metrics(),
        worker.send(calls.prometheus()),
        worker.list(status="running", limit=20).tasks,
        worker.list(status="failed", limit=5).tasks,
    )


def watch(
    worker: Client,
    console: Console,
    interval_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show frame after frame until interrupted; a worker that goes away may come back."""
    first = frame(look(worker), _now())
    try:
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                sleep(interval_s)
                try:
                    live.update(frame(look(worker), _now()), refresh=True)
                except ClientError as error:
                    live.update(Text(sentence(error), style="red"), refresh=True)
    except KeyboardInterrupt:
        return


def _as_json(worker: Client) -> dict[str, msgspec.Raw]:
    asked: dict[str, calls.Call[Any]] = {
        "health": calls.health(),
        "metrics": calls.metrics(),
        "running": calls.tasks({"status": "running", "limit": 20}),
        "failed": calls.tasks({"status": "failed", "limit": 5}),
    }
    return {name: msgspec.Raw(worker.fetch(call).body) for name, call in asked.items()}


def _now() -> datetime:
    return datetime.now(UTC)
