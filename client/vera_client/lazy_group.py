"""A click group that imports a verb's module only when that verb is used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group with some verbs given by name: verb -> "module:attribute", and one line on each."""

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, str],
        lines: Mapping[str, str],
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self._lazy = lazy
        self._lines = lines

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all verbs: those that are here, then the others in the order of their table."""
        here = super().list_commands(ctx)
        return [*here, *(verb for verb in self._lazy if verb not in here)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command, imported now if it must be."""
        target = self._lazy.get(cmd_name)
        if target is None or cmd_name in self.commands:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any."""
        rows = [(verb, self._line(verb)) for verb in self.list_commands(ctx)]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)

    def _line(self, verb: str) -> str:
        here = self.commands.get(verb)
        return here.get_short_help_str() if here else self._lines.get(verb, "")
