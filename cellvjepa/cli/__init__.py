"""The command line: thin commands over public functions, one file per room.

Exit codes: 0 done (or pretrain was stopped by the system, to be gone on with), 2 a mistake in the input (one line on stderr),
130 cancelled. Slow imports happen inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from cellvjepa import __version__
from cellvjepa.cli import archive, demo, embedding, events, exploring, maps, probing, segmenting, tables, training
from cellvjepa.errors import Cancelled, Stopped, UserError
from cellvjepa.writing import readable_write_errors

app = typer.Typer(
    name="cellvjepa",
    help="V-JEPA video encoders for live-cell microscopy: pretrain on your own archive, explore, classify from a few labels, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_CANCELLED = 130  # exit code

# In the order in which they are used, which is that of --help.
_VERBS: tuple[Callable[..., Any], ...] = (
    demo.demo,
    archive.inspect,
    archive.convert,
    archive.settings,
    segmenting.segment,
    segmenting.link,
    training.pretrain,
    embedding.embed,
    maps.surprise,
    exploring.cluster,
    exploring.similar,
    probing.probe,
    probing.predict,
    events.events,
    events.suggest,
    events.agreement,
    tables.report,
    tables.export,
)
for _verb in _VERBS:
    app.command()(_verb)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"cellvjepa {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a log on Windows may know no characters but its own: no reason to fail after hours
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; mistakes of the user are printed as one line on stderr."""
    try:
        with readable_write_errors("output"):
            code = app(args=list(arguments), standalone_mode=False)
    except (UserError, TyperException) as error:
        message = str(error) if isinstance(error, UserError) else " ".join(error.format_message().split())
        print(f"cellvjepa: {message}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"cellvjepa: {stopped}", file=sys.stderr)
        return 0
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        code = _CANCELLED
    if code == _CANCELLED:  # typer tells of some of these by the code alone
        print(
            "cellvjepa: cancelled; what was done is kept (pretrain: add --resume if it has begun to train; embed, convert: run it again)",
            file=sys.stderr,
        )
    return code if isinstance(code, int) else 0
