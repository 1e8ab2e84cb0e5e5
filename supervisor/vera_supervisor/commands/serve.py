"""The verb `serve`: run the worker in the foreground."""

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import anyio
import click

from vera_supervisor import entrance, heap, logs
from vera_supervisor.config import KEYS, ConfigError, load
from vera_supervisor.listening import CannotListen, UnfitSocket
from vera_supervisor.pool import trial
from vera_supervisor.staffing import UnfitPool
from vera_supervisor.store.protocol import StoreUnavailable, UnavailableNow
from vera_supervisor.supervisor import serve as serve_worker
from vera_supervisor.timekeeper import UnfitSchedule
from vera_worker import process_tree

_WRONG_CONFIGURATION: Final = 2
_NOT_NOW: Final = 1
#: What may be otherwise in a moment: the service manager tries again.
_UNFIT_NOW: Final = (CannotListen, UnavailableNow, *trial.UNFIT_NOW)
#: What the user has to mend: the service manager does not try that again.
_UNFIT: Final = (
    *(StoreUnavailable, UnfitPool, UnfitSchedule, UnfitSocket),
    *trial.UNFIT,
    *entrance.UNFIT,
)


@click.command
@click.option("--config", "file", type=click.Path(path_type=Path), help="The worker.toml to read.")
@click.option("--host", help="Where to listen.  [server.host]")
@click.option("--port", type=int, help="Where to listen; 0: any free port.  [server.port]")
@click.option(
    "--ready-fd",
    type=int,
    help='A descriptor that gets one line {"url": …} once the worker takes tasks.',
)
def serve(file: Path | None, host: str | None, port: int | None, ready_fd: int | None) -> None:
    """Run the worker in the foreground until SIGTERM or Ctrl-C."""
    try:
        overrides = {"server.host": host, "server.port": port}
        # With the secrets, which are taken out of the environment below.
        environment = dict(os.environ)
        config = load(file, environment, overrides).config
    except ConfigError as error:
        for fault in error.faults:
            click.echo(logs.fault(str(fault)), err=True)
        sys.exit(_WRONG_CONFIGURATION)
    logs.configure(config.logging.level, config.logging.format)
    _forget_secrets()
    process_tree.keep_private()  # tasks run as the same user
    process_tree.outlive_others()
    heap.return_large_blocks()
    try:
        anyio.run(
            serve_worker,
            config,
            lambda: load(file, environment, overrides).config,
            ready_fd,
            backend="asyncio",
            backend_options={"use_uvloop": True},
        )
    except* _UNFIT_NOW as group:
        _give_up(group, _NOT_NOW)
    except* _UNFIT as group:
        _give_up(group, _WRONG_CONFIGURATION)


def _forget_secrets() -> None:
    """Take the secrets out of the environment, which every executor would inherit."""
    for key in KEYS.values():
        if key.secret and key.env:
            os.environ.pop(key.env, None)


def _give_up(group: BaseExceptionGroup[BaseException], status: int) -> NoReturn:
    """End the program with one line for each fault."""
    for leaf in _leaves(group):
        click.echo(logs.fault(f"vera-worker: {leaf}"), err=True)
    sys.exit(status)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
