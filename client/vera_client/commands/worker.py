"""`functions`, `health`, `drain`, `resume` and `reload`: the worker as a whole."""

import click

from vera_client import calls
from vera_client.commands import screen, views
from vera_client.commands.common import ClientCommand, Exit, Target, give_up, on_worker, sentence
from vera_client.errors import ClientError
from vera_client.records import Health


@click.command(cls=ClientCommand)
@on_worker
def functions(target: Target) -> None:
    """Show what can be called: signature, first line of the docstring, limits."""
    call = calls.functions()
    with target.client() as worker:
        answer = worker.fetch(call)
    if target.as_json:
        screen.print_answer(answer)
    else:
        screen.print_table(views.FUNCTIONS_HEADER, map(views.function_row, call.read(answer)))


@click.command(cls=ClientCommand)
@on_worker
def health(target: Target) -> None:
    """Exit 0 when a task sent now would start, 1 otherwise; say why."""
    call = calls.health()
    try:
        with target.client() as worker:
            ready = worker.send(calls.ready())
            answer = worker.fetch(call)
        said = call.read(answer)
    except ClientError as error:
        # A container's health check knows 0 and 1 only.
        give_up(sentence(error), Exit.TASK_FAILED)
    if target.as_json:
        screen.print_answer(answer)
    else:
        screen.print_fields(_health_fields(said, ready=ready))
    if not ready:
        click.get_current_context().exit(Exit.TASK_FAILED)


@click.command(cls=ClientCommand)
@on_worker
def drain(target: Target) -> None:
    """Let running tasks end, take and start no others, until `resume` or a restart."""
    _admin(target, "drain", "draining: running tasks end, no other is taken or started")


@click.command(cls=ClientCommand)
@on_worker
def resume(target: Target) -> None:
    """Take and start tasks again after `drain`."""
    _admin(target, "resume", "resumed: tasks are taken and started again")


@click.command(name="reload", cls=ClientCommand)
@on_worker
def reload(target: Target) -> None:
    """Read configuration and task modules again: all of it, or nothing if there is a fault."""
    with target.client() as worker:
        answer = worker.fetch(calls.admin("reload"))
        said = calls.admin("reload").read(answer)
    if target.as_json:
        screen.print_answer(answer)
        return
    click.echo("reloaded: configuration and code are as the files have them")
    for change in said.get("changes", []):
        click.echo(f"  {change['key']}: {change['old']} -> {change['new']}")
    for verb, names in said.get("functions", {}).items():
        if names:
            click.echo(f"  functions {verb}: {', '.join(names)}")


def _admin(target: Target, verb: str, done: str) -> None:
    with target.client() as worker:
        answer = worker.fetch(calls.admin(verb))
    if target.as_json:
        screen.print_answer(answer)
    else:
        click.echo(done)


def _health_fields(health: Health, *, ready: bool) -> list[tuple[str, str]]:
    return [
        ("status", health.status if ready else f"{health.status} (not ready)"),
        ("worker", health.worker_id),
        ("tasks", f"{health.active_tasks} running, {health.queue_size} queued"),
        ("CPU", screen.percent(health.cpu_percent / 100)),
        ("memory", screen.percent(health.memory_percent / 100)),
        *(("because", reason) for reason in health.reasons),
    ]
