"""`status`, `output`, `cancel` and `list`: what became of tasks."""

import click

from vera_client import calls
from vera_client.commands import screen, views
from vera_client.commands.common import ClientCommand, Target, leave_for, on_worker
from vera_worker.lifecycle import Status


@click.command(cls=ClientCommand)
@click.argument("task_id", metavar="ID")
@on_worker
def status(target: Target, *, task_id: str) -> None:
    """Show a task and what became of it; exit 1 if it has failed or was cancelled."""
    call = calls.status(task_id)
    with target.client() as worker:
        answer = worker.fetch(call)
    record = call.read(answer)
    if target.as_json:
        screen.print_answer(answer)
    else:
        screen.print_fields(views.record_fields(record))
    leave_for(record)


@click.command(cls=ClientCommand)
@click.argument("task_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has ended.")
@on_worker
def output(target: Target, *, task_id: str, follow: bool) -> None:
    """Show what a task printed, stdout and stderr, in its last attempt."""
    with target.client() as worker:
        pieces = worker.follow(task_id) if follow else iter([worker.output(task_id)])
        for text in pieces:
            if target.as_json:
                screen.print_json({"task_id": task_id, "output": text})
            else:
                click.echo(text, nl=False)


@click.command(cls=ClientCommand)
@click.argument("task_id", metavar="ID")
@on_worker
def cancel(target: Target, *, task_id: str) -> None:
    """Cancel a task, queued or running."""
    call = calls.cancel(task_id)
    with target.client() as worker:
        answer = worker.fetch(call)
    if target.as_json:
        screen.print_answer(answer)
    else:
        record = call.read(answer)
        click.echo(f"{record.task_id} {record.status}")


@click.command(name="list", cls=ClientCommand)
@click.option("--status", "status_", type=click.Choice([*map(str, Status)]), help="Only these.")
@click.option("--function", help="Only calls of this function.")
@click.option("--tag", help="Only those with this tag.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many."
)
@on_worker
def list_tasks(
    target: Target, *, status_: str | None, function: str | None, tag: str | None, limit: int
) -> None:
    """List tasks, newest first."""
    call = calls.tasks({"status": status_, "function": function, "tag": tag, "limit": limit})
    with target.client() as worker:
        answer = worker.fetch(call)
    if target.as_json:
        screen.print_answer(answer)
        return
    page = call.read(answer)
    screen.print_table(views.LIST_HEADER, map(views.list_row, page.tasks))
    if page.cursor:
        screen.say(f"the newest {len(page.tasks)}; there are more (--limit)")
