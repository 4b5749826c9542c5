"""The demo: the whole program as one command."""

from __future__ import annotations

from pathlib import Path

import typer

from cellvjepa.cli.arguments import DemoFolder
from cellvjepa.terminal import Terminal


def demo(out: DemoFolder = Path("cellvjepa-demo")) -> None:
    """Tell the whole story on the sample data, in under three minutes on two CPU cores, ending with report.html."""
    from cellvjepa.stories.demo import run_demo

    with Terminal() as terminal:
        report = run_demo(out, terminal)
    typer.echo(f"Done. Open the report in a browser:\n{report.resolve()}")
