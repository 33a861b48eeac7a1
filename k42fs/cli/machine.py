"""The command group `k42fs machine`: the modelled multiprocessor by itself, without a mount."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from typing import Final

import click

SENTENCE_MAX: Final = 1000
"""Characters of a command's first sentence: click's own limit is what is left of a line."""

BROKEN_PIPE_STATUS: Final = 128 + 13
"""As a shell gives it for the signal SIGPIPE."""

FULL: Final = (ENOSPC, EDQUOT, EFBIG, EIO)
"""Why what is written may not be taken."""


class MachineGroup(click.Group):
    """A group that lists its commands with whole sentences.

    `validate` is imported only when asked for: with it come all the experiments.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, on more lines where one is too short."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(SENTENCE_MAX)) for name, command in commands if command]
            )

    def invoke(self, ctx: click.Context) -> object:
        """End without a word where whoever reads the output has had enough of it, as `head` does.

        Raises: OSError: the output cannot be written; files that are opened have their names in it.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            sys.exit(BROKEN_PIPE_STATUS)
        except OSError as exc:
            if exc.filename or exc.errno not in FULL:
                raise
            _drop_output()
            raise OSError(exc.errno, exc.strerror, "standard output") from exc
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), "validate"})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "validate":
            from k42fs.cli.machine_validate import validate

            return validate
        return super().get_command(ctx, cmd_name)


def _drop_output() -> None:
    """Let the interpreter's last flush write to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=MachineGroup)
def machine() -> None:
    """The modelled multiprocessor by itself: its presets, its protocols, traces run on it.

    \b
        k42fs machine show s85-24
        k42fs machine run TRACE --preset xeon-2s
        k42fs machine explore
        k42fs machine validate --quick
    """


@machine.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """List the presets: machines to start from."""
    from k42fs.cli.machine_show import list_presets

    list_presets(as_json)


@machine.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("preset", metavar="PRESET")
def show(as_json: bool, preset: str) -> None:
    """Show a preset, or a user's own in a .toml file: a picture of the machine, then every value.

    Each value comes with its source and how sure it is. One that nobody has checked is labelled "model
    preset": it belongs to the model, not to the machine the preset is named after.
    """
    from k42fs.cli.machine_show import show_preset

    show_preset(preset, as_json)


@machine.command()
@click.option("--protocol", multiple=True, metavar="NAME", help="Only this one: msi, mesi or moesi.")
@click.option("--replay", is_flag=True, help="Also replay what was reached on the core, and compare.")
@click.option("--mutants", is_flag=True, help="Also walk each protocol with one thing left out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explore(protocol: Sequence[str], replay: bool, mutants: bool, as_json: bool) -> None:
    """Prove the protocols: walk over every state that 3 processors, 2 lines and 2 values can reach.

    In each state there is a single writer or there are many readers, every copy has the newest value,
    memory too unless a copy is dirty, L2 includes L1, and the directory knows who has what. If not, prints
    the shortest way there, and ends with status 1.
    """
    from k42fs.cli.machine_explore import show_walks

    show_walks(list(protocol), replay, mutants, as_json)


@machine.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
def protocols(names: Sequence[str]) -> None:
    """Print the protocols' tables and diagrams in Markdown, all or those named (msi, mesi, moesi).

    docs/protocols.md is this command's output. On a terminal tables that are too wide for it become lists.
    """
    from k42fs.cli.columns import screen_width
    from k42fs.cli.machine_explore import checked_names, fitted
    from k42fs.machine.protocol_pages import page

    text = page(checked_names(names))
    if sys.stdout.isatty():
        text = "".join(f"{line}\n" for line in fitted(text, screen_width()))
    click.echo(text, nl=False)


@machine.command()
@click.option("--preset", default="dir-1024", show_default=True, help="The machine: a name or a .toml file.")
@click.option("-p", "--processors", type=int, help="Processors (default: as many as the trace has).")
@click.option(
    "-s", "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field of the preset."
)
@click.option(
    "--homes",
    type=click.Choice(["interleaved", "address", "first"]),
    default="interleaved",
    show_default=True,
    help="The node that a line is homed at: line by line, by the node bits of its address, or node 0.",
)
@click.option("--format", "form", type=click.Choice(["din", "cs4223", "text"]), help="Default: find out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Settles ties of virtual time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row per processor and one for all.")
@click.option("--emit-din", metavar="FILE", help="Also write the trace as din: FILE, or FILE.0, FILE.1, ...")
@click.option("--log", metavar="FILE", help="Write a line per reference to FILE, or - for standard output.")
@click.option(
    "--partial", is_flag=True, help="Print what was counted up to a bad line; still ends with status 1."
)
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...")
def run(
    preset: str,
    processors: int | None,
    settings: Sequence[str],
    homes: str,
    form: str | None,
    seed: int,
    as_json: bool,
    as_csv: bool,
    emit_din: str | None,
    partial: bool,
    log: str | None,
    traces: Sequence[str],
) -> None:
    """Run traces of memory references and print what the caches did.

    \b
    din     label address        0 load, 1 store, 2 fetch; hexadecimal
    cs4223  label value          0 load, 1 store, 2 cycles of work
    text    cpu kind addr [len]  r, w, x (atomic), c (cycles); # comment

    The first two are a file per processor, text is one file for all. A TRACE may be gzipped, be a
    directory of NAME_0, NAME_1, ..., or be - for standard input. Files whose names differ in a number
    only are in its order. Files of one processor each run by lowest clock first, a text file in its own
    order.

    \b
        k42fs machine run TRACE_?.data --preset xeon-2s
        printf '0 w 4\\n1 r 4\\n' | k42fs machine run - --set protocol=msi
    """
    if as_json and as_csv:
        raise click.UsageError("choose one of --json and --csv")
    if log == "-" and (as_json or as_csv):
        raise click.UsageError("--log - and the figures would both be on standard output: name a file")
    from k42fs.cli.machine_run import run_traces

    run_traces(
        list(traces),
        preset=preset,
        processors=processors,
        settings=settings,
        homes=homes,
        form=form,
        seed=seed,
        output="json" if as_json else "csv" if as_csv else "text",
        emit_din=emit_din,
        partial=partial,
        log=log,
    )
