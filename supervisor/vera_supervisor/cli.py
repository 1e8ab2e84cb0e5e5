"""The command line: every verb by name, imported only when it is called."""

from typing import Final

import click

from vera_client.lazy_group import LazyGroup
from vera_client.verbs import HELP as CLIENT_HELP
from vera_client.verbs import VERBS as CLIENT_VERBS
from vera_worker import __version__

VERBS: Final[dict[str, str]] = {
    "serve": "vera_supervisor.commands.serve:serve",
    "config": "vera_supervisor.commands.config:config",
    **CLIENT_VERBS,
}

HELP: Final[dict[str, str]] = {
    "serve": "Run the worker in the foreground until SIGTERM or Ctrl-C.",
    "config": "Check, show or write the configuration.",
    **CLIENT_HELP,
}


def main() -> None:
    """Run the verb that the command line names."""
    program = LazyGroup(
        "vera-worker",
        lazy=VERBS,
        lines=HELP,
        help="A task-execution node: REST in, isolated execution with hard limits, result out.",
    )
    click.version_option(__version__, message="%(prog)s %(version)s")(program)
    program(prog_name="vera-worker")
