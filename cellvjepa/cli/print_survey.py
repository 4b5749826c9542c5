"""Printing what a survey found for people."""

from __future__ import annotations

from typing import Any

from cellvjepa.cli.opening import grouped


def print_survey(found: dict[str, Any], every_movie: bool) -> None:
    """Print what a survey found: a table, a summary, and one line per problem with its remedy."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cellvjepa.movies.survey_table import legend, summary, survey_table

    console = Console()
    # Problems follow below the table: a sentence does not fit into a column, and many movies share one.
    laid_out = survey_table(found["movies"], console.width, every_movie=every_movie)
    table = Table(box=None, pad_edge=False, padding=(0, laid_out.gap, 0, 0), header_style="bold")
    for column in laid_out.columns:
        table.add_column(Text(column.title), no_wrap=True, justify="left" if column.title == "movie" else "right")
    for row in zip(*(column.texts for column in laid_out.columns), strict=True):
        table.add_row(*map(Text, row))
    console.print(table, soft_wrap=True)
    for line in legend(found["movies"]):
        console.print(line, style="dim", markup=False, highlight=False)
    console.print(summary(found["movies"], len(found["skipped"])), markup=False, highlight=False)
    for line in grouped([(movie["name"], f"{p['what']}. {p['remedy']}.") for movie in found["movies"] for p in movie["problems"]]):
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
    for line in grouped([(s["path"], f"{s['what']}. {s['remedy']}.") for s in found["skipped"]]):
        console.print(f"- skipped {line}", markup=False, highlight=False, soft_wrap=True)
