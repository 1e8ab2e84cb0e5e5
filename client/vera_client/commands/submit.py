"""`submit`: one task."""

import re
from typing import Any

import click

from vera_client import calls, transport
from vera_client.commands import screen, words
from vera_client.commands.common import ClientCommand, Seconds, Target, leave_for, on_worker
from vera_client.errors import result_of
from vera_worker.tasks import Priority

_NEGATIVE_NUMBER = re.compile(r"-\d[\d.eE+-]*")


class SubmitCommand(ClientCommand):
    """Takes negative numbers for arguments, not for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a space before it, which JSON passes over, make a negative number an argument."""
        kept = [f" {word}" if _NEGATIVE_NUMBER.fullmatch(word) else word for word in args]
        return super().parse_args(ctx, kept)


@click.command(cls=SubmitCommand)
@click.argument("function")
@click.argument("arguments", metavar="[JSON]...", nargs=-1)
@click.option("-k", "named", metavar="NAME=JSON", multiple=True, help="A named argument.")
@click.option("--priority", type=click.Choice([*map(str, Priority)]), help="Its class.")
@click.option("--timeout", type=Seconds(min=0, min_open=True), help="Seconds it may take.")
@click.option("--id", "task_id", help="Its id; sent twice, it is still one task.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by.")
@click.option("--wait", is_flag=True, help="Wait for its end and print its result.")
@on_worker
def submit(
    target: Target,
    *,
    function: str,
    arguments: tuple[str, ...],
    named: tuple[str, ...],
    priority: str | None,
    timeout: float | None,
    task_id: str | None,
    tags: tuple[str, ...],
    wait: bool,
) -> None:
    """Submit one task: call FUNCTION with each JSON as an argument.

    A word that is no JSON is taken as a string. Prints the task's id; with --wait, its result.
    """
    args, kwargs = _parsed(arguments, named)
    options: calls.Options = {
        "task_id": task_id,
        "priority": priority,
        "timeout": timeout,
        "tags": tags or None,
    }
    hold = transport.HOLD_S if wait else None
    call = calls.submit(function, args, kwargs, options, hold)
    with target.client() as worker:
        answer = worker.fetch(call)
        record = call.read(answer)
        if wait and not record.ended:
            screen.say(f"{record.task_id} {record.status}")
            record = worker.wait(record.task_id)
            answer = worker.fetch(calls.status(record.task_id)) if target.as_json else answer
    if target.as_json:
        screen.print_answer(answer)
        leave_for(record)
    elif wait:
        screen.print_json(result_of(record))
    else:
        click.echo(record.task_id)
        place = f" at position {record.position}" if record.position else ""
        screen.say(f"{record.status}{place}; see `vera-worker status {record.task_id}`")


def _parsed(arguments: tuple[str, ...], named: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    try:
        return [*map(words.json_or_word, arguments)], words.named_values(named)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
