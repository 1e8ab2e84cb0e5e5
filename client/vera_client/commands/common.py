"""What all client verbs share: the options that name a worker, and errors as one sentence."""

import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Any, NoReturn, TypeVar

import click

from vera_client.client import Client
from vera_client.commands.screen import visible
from vera_client.errors import (
    ApiProblem,
    ClientError,
    NotAllowed,
    Refused,
    TaskFailed,
    WorkerUnreachable,
)
from vera_client.records import TaskRecord
from vera_client.tls import tls_context
from vera_client.transport import DEFAULT_URL

C = TypeVar("C")


class Seconds(click.FloatRange):
    """A number of seconds; JSON has no word for NaN, which no bound keeps out, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


_SERVER_FAULT = 500


class Exit(IntEnum):
    """What a verb's exit code says."""

    DONE = 0
    TASK_FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    #: By Ctrl-C: what shells say of SIGINT.
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Target:
    """The worker that a verb speaks to, and whether it answers as JSON."""

    url: str
    token: str | None
    as_json: bool
    tls: ssl.SSLContext | None = None

    def client(self) -> Client:
        """Return a client; raise UsageError if there can be none."""
        return self.connect(Client)

    def connect(self, client: Callable[..., C], **settings: Any) -> C:
        """Return a client of any kind; raise UsageError if there can be none."""
        try:
            return client(self.url, token=self.token, tls=self.tls, **settings)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


class ClientCommand(click.Command):
    """A command whose errors end in one sentence on stderr and a fixed exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except ClientError as error:
            give_up(sentence(error), exit_code(error))
        except KeyboardInterrupt:  # click would end with 1, as when a task failed
            click.echo(err=True)
            give_up("interrupted; what was submitted goes on.", Exit.INTERRUPTED)


def on_worker(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that name a worker, and `--json`; it gets a Target first."""

    @click.option(
        "--url",
        envvar="VERA_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Where the worker is; unix:/PATH for a Unix socket.",
    )
    @click.option("--token", envvar="VERA_TOKEN", show_envvar=True, help="The worker's token.")
    @_file("--cacert", "VERA_CACERT", "Authorities to trust, instead of those of the machine.")
    @_file("--cert", "VERA_CERT", "The certificate to show, where the worker wants one.")
    @_file("--key", "VERA_KEY", "The private key of --cert, if it is in a file of its own.")
    @click.option("--json", "as_json", is_flag=True, help="Print what the worker answers, as JSON.")
    @wraps(verb)
    def with_target(
        *,
        url: str,
        token: str | None,
        cacert: str | None,
        cert: str | None,
        key: str | None,
        as_json: bool,
        **rest: Any,
    ) -> None:
        verb(Target(url, token, as_json, _tls(cacert, cert, key)), **rest)

    return with_target


def _file(
    name: str, variable: str, about: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, envvar=variable, show_envvar=True, metavar="FILE", help=about)


def _tls(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if not (ca or cert or key):
        return None  # httpx's own: it is made only where it is needed
    try:
        return tls_context(ca, cert, key)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def exit_code(error: ClientError) -> Exit:
    """Return the exit code that `error` stands for."""
    match error:
        case TaskFailed():
            return Exit.TASK_FAILED
        case Refused() | NotAllowed() | ApiProblem(status=409):
            return Exit.REFUSED
        case ApiProblem(status=status) if status < _SERVER_FAULT:
            return Exit.USAGE
        case _:
            return Exit.UNREACHABLE


def sentence(error: ClientError) -> str:
    """Return what to tell the user of `error`, with what to do on the command line."""
    said = str(error).rstrip(".")
    match error:
        case WorkerUnreachable():
            return (
                f"{said}; start one with `vera-worker serve`, or name another with --url or "
                f"VERA_URL."
            )
        case Refused():
            return f"{said}; try again in {error.retry_after:g} s."
        case ApiProblem(status=401):
            return f"{said}; the worker's token goes into VERA_TOKEN or --token."
        case _:
            return f"{said}."


def give_up(said: str, code: Exit) -> NoReturn:
    """Say why and end the program."""
    click.echo(f"Error: {visible(said)}", err=True)
    click.get_current_context().exit(code)


def leave_for(record: TaskRecord) -> None:
    """End the program with exit code 1 if the task has ended without a result."""
    if record.ended and not record.completed:
        click.get_current_context().exit(Exit.TASK_FAILED)
