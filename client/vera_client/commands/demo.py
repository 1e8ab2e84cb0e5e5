"""`demo`: a worker of its own, a real workload through its API, and whether all came out right."""

import os
import time
from functools import partial

import anyio
import click

from vera_client import calls, gauges
from vera_client.async_client import AsyncClient
from vera_client.commands import bars, screen
from vera_client.demo.own_worker import OwnWorker, own_worker
from vera_client.demo.summary import Summary, summarise
from vera_client.demo.workload import FUNCTION, Seen, directly, library_files, through_worker
from vera_client.errors import ClientError

#: Enough in flight to keep every executor busy while answers travel.
_IN_FLIGHT_PER_CORE = 4


@click.command()
@click.option("--limit", type=click.IntRange(min=1), help="Only so many files.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(*, limit: int | None, as_json: bool) -> None:
    """Start a worker, push the files of Python's own library through it, show the result, stop it.

    Every file is one task: how many nodes has its syntax tree? Each answer is compared with a
    direct call of the same function.
    """
    cores = len(os.sched_getaffinity(0))
    files = library_files()[:limit]
    tell = (lambda _text: None) if as_json else click.echo
    tell(f"starting a worker with up to {cores} executors")
    try:
        with own_worker(cores, queue_size=100 + cores * _IN_FLIGHT_PER_CORE) as worker:
            tell(f"{worker.url} is ready; submitting {len(files):,} files")
            summary = _worked(worker, files, cores)
            if as_json:
                screen.print_json(summary)
            else:
                screen.print_fields(fields(summary))
            worker.stop()
            tell("the worker stopped cleanly")
    except ClientError as error:
        raise click.ClickException(screen.visible(str(error))) from error
    if not summary.good:
        wrong = ", ".join(summary.mismatches[:5])
        raise click.ClickException(f"the worker and direct calls disagree, first on {wrong}")


def _worked(worker: OwnWorker, files: list[str], cores: int) -> Summary:
    at_once = cores * _IN_FLIGHT_PER_CORE
    with bars.progress() as bar:
        done = bar.add_task(FUNCTION, total=len(files))
        started = time.perf_counter()
        try:
            seen, executors = anyio.run(
                _sent, worker.url, files, at_once, partial(bar.advance, done)
            )
        except (ClientError, TimeoutError) as error:
            raise worker.fault(str(error) or "the worker did not get done in time") from error
        wall_s = time.perf_counter() - started
        checked = bar.add_task("the same, called directly", total=len(files))
        direct = {}
        for path, outcome in directly(files, cores):
            direct[path] = outcome
            bar.advance(checked)
    return summarise(seen, direct, wall_s, executors)


async def _sent(
    url: str, files: list[str], at_once: int, on_done: partial[None]
) -> tuple[dict[str, Seen], int]:
    async with AsyncClient(url, connections=at_once) as worker:
        seen = await through_worker(worker, files, at_once, on_done)
        states = gauges.by_label(await worker.send(calls.prometheus()), "executors", "state")
    return seen, sum(states.values())


def fields(summary: Summary) -> list[tuple[str, str]]:
    """Return a summary in words."""
    latency = (summary.latency_p50_s, summary.latency_p95_s, summary.latency_p99_s)
    return [
        ("files", f"{summary.files:,}"),
        ("syntax tree nodes", f"{summary.nodes:,}"),
        ("failures", f"{summary.failures_expected} expected, as these files are no valid Python"),
        ("unexpected failures", str(summary.failures_unexpected)),
        ("mismatches", f"{len(summary.mismatches)} against direct calls of the same function"),
        ("executors", str(summary.executors)),
        ("wall time", screen.seconds(summary.wall_s)),
        ("throughput", f"{summary.tasks_per_s:.0f} tasks/s"),
        ("latency", "p50 {}, p95 {}, p99 {}".format(*map(screen.seconds, latency))),
    ]
