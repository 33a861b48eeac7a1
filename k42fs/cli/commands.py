"""The group of all commands: what goes wrong in one is a line on standard error and a status, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from k42fs.errors import K42Error

SENTENCE_MAX: Final = 1000
"""Characters of a command's first sentence: click's own limit is what is left of a line."""


class Commands(click.Group):
    """Turns what a command refuses into one line on standard error and a non-zero exit; lists whole sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, on more lines where one is too short."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(limit=SENTENCE_MAX))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own signature
        try:
            return super().invoke(ctx)
        except K42Error as exc:
            _fail(str(exc) or os.strerror(exc.errno))
        except TimeoutError as exc:
            _fail(str(exc))
        except OSError as exc:
            _fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401  click's own signature
    ) -> Any:  # noqa: ANN401
        """As click's, but what is wrong with the command line is one line, too, and says where help is."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as exc:
            exc.show()
            sys.exit(exc.exit_code)
        except click.UsageError as exc:
            command = exc.ctx.command_path if exc.ctx is not None else "k42fs"
            said = " ".join(exc.format_message().split()).rstrip(".")
            _fail(f"{said}: see '{command} --help'", exc.exit_code)
        except click.ClickException as exc:
            _fail(exc.format_message(), exc.exit_code)
        except click.Abort:
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(reason: str, status: int = 1) -> NoReturn:
    """Say why in a line on standard error, and exit."""
    click.echo(f"k42fs: {reason}", err=True)
    sys.exit(status)
