"""What `top` shows: from what the worker said to one frame; nothing here asks or waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vera_client import gauges
from vera_client.commands import screen, views
from vera_client.records import Health, TaskRecord
from vera_worker.tasks import Priority

_COLOURS: Final = {"healthy": "green", "degraded": "yellow", "draining": "yellow"}
_BAR: Final = 30
_FULL: Final = 90


@dataclass(frozen=True, slots=True)
class Glance:
    """All that one frame shows."""

    health: Health
    metrics: Mapping[str, Any]
    #: Prometheus' text.
    gauges: str
    running: Sequence[TaskRecord]
    failed: Sequence[TaskRecord]


def frame(glance: Glance, now: datetime) -> RenderableType:
    """Return a frame."""
    return Group(
        _panel("worker", _worker(glance)),
        _panel("executors", _executors(glance, now)),
        _panel("queue", _queue(glance)),
        _panel("last failures", _failures(glance.failed)),
    )


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=title, title_align="left", border_style="dim", padding=(0, 1))


def _worker(glance: Glance) -> RenderableType:
    health, metrics = glance.health, glance.metrics
    counts = ", ".join(
        f"{metrics.get(f'tasks_{name}', 0)} {name}" for name in ("completed", "failed", "cancelled")
    )
    head = Text.assemble(
        (screen.visible(health.worker_id) or "?", "bold"),
        "  ",
        (health.status, _COLOURS.get(health.status, "red")),
        f"  up {screen.seconds(metrics.get('uptime_seconds', 0))}  {counts}",
        f"  {screen.seconds(metrics.get('average_execution_time') or 0)} each",
    )
    table = Table.grid(padding=(0, 2))
    for what, used, whole in (
        ("CPU", health.cpu_percent, f"{metrics.get('cpu_cores', 0):g} cores"),
        ("memory", health.memory_percent, f"{metrics.get('memory_total_gb', 0):.1f} GB"),
    ):
        table.add_row(what, _bar(used), f"{screen.percent(used / 100)} of {whole}")
    reasons = [Text(f"! {screen.visible(reason)}", style="yellow") for reason in health.reasons]
    return Group(head, table, *reasons)


def _executors(glance: Glance, now: datetime) -> RenderableType:
    counts = _pools(glance)
    table = _table()
    for record in glance.running:
        fraction = record.progress.fraction if record.progress else None
        since = (now - record.started_at).total_seconds() if record.started_at else 0.0
        table.add_row(
            record.task_id,
            Text(screen.visible(views.clip(views.call_of(record.payload), 60))),
            screen.seconds(max(0.0, since)),
            "" if fraction is None else screen.percent(fraction),
        )
    return Group(counts, table) if glance.running else counts


def _pools(glance: Glance) -> RenderableType:
    """Return how many executors there are, for each pool where there are several."""
    states, pools = gauges.by_label(glance.gauges, "executors", "state"), glance.health.pools
    if len(pools) <= 1:
        return Text(_counts(states))
    table = _table()
    for name, pool in pools.items():
        waiting = f"{pool.queued} waiting" if pool.queued else ""
        table.add_row(
            Text(screen.visible(name)),
            f"at most {pool.max_workers}",
            _counts(pool.executors),
            waiting,
        )
    return table


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in states.items() if number) or "none"


def _queue(glance: Glance) -> RenderableType:
    waiting = gauges.by_label(glance.gauges, "queue_size", "priority")
    most = max(1, *waiting.values()) if waiting else 1
    table = Table.grid(padding=(0, 2))
    for priority in Priority:
        number = waiting.get(priority, 0)
        bar = ProgressBar(most, number, width=_BAR, complete_style="cyan", finished_style="cyan")
        table.add_row(priority, bar, str(number))
    return table


def _failures(failed: Sequence[TaskRecord]) -> RenderableType:
    if not failed:
        return Text("none", style="dim")
    table = _table()
    for record in failed:
        cause = record.failure.cause if record.failure else record.status
        when = f"{record.completed_at:%H:%M:%S}" if record.completed_at else ""
        table.add_row(
            when,
            record.task_id,
            record.function,
            Text(cause, style="red"),
            Text(screen.visible(record.error or "").replace("\n", " ")),
        )
    return table


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.show_header = False
    return table


def _bar(percent: float) -> ProgressBar:
    colour = "red" if percent >= _FULL else "green"
    return ProgressBar(
        100, min(percent, 100.0), width=_BAR, complete_style=colour, finished_style=colour
    )
