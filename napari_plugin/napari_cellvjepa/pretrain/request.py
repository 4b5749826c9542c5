"""What the Pretrain dock asks for, as a value, and the command that does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cellvjepa


@dataclass(frozen=True)
class PretrainRequest:
    """A pretraining that is wanted.

    Parameters
    ----------
    movies
        Movies and folders of movies.
    run
        The folder of the run.
    preset
        What the settings are made from.
    overrides
        What differs from it, ``"section.field=value"``; for a run that is gone on with, from its own settings.
    resume
        Whether a run is gone on with.
    init_from
        Weights to start from; ``""``: none.
    labels, cells
        Labelled windows to watch while training; ``""``: none.
    """

    movies: tuple[str, ...]
    run: Path
    preset: str
    overrides: tuple[str, ...]
    resume: bool = False
    init_from: str = ""
    labels: str = ""
    cells: str = ""

    def words(self) -> tuple[str, ...]:
        """Return the command, word by word."""
        words = ["cellvjepa", "pretrain", *self.movies, "--out", str(self.run)]
        words += ["--resume"] if self.resume else ["--config", self.preset]
        for override in self.overrides:
            words += ["--set", override]
        if self.init_from and not self.resume:
            words += ["--init-from", self.init_from]
        if self.labels:
            words += ["--labels", self.labels, "--cells", self.cells]
        return tuple(words)


def check(request: PretrainRequest) -> None:
    """Refuse what would fail before any training.

    Raises
    ------
    UserError
        If something is missing, or there is a run in the folder already.
    """
    if not request.movies:
        raise cellvjepa.UserError("there are no movies to train on", "add a folder, files, or the open images", "Movies")
    for movie in request.movies:
        # Addresses and patterns are for the program to look at.
        if "://" not in movie and "{" not in movie and not Path(movie).exists():
            raise cellvjepa.UserError("this is not there", "take it out of the list of movies, or put it back", movie)
    if (request.labels == "") != (request.cells == ""):
        raise cellvjepa.UserError("labels and cells belong together", "give both, or neither", "Watch labels")
    state = cellvjepa.read_run_state(request.run)
    if not request.resume and (state.rows or state.begun):
        raise cellvjepa.UserError("this folder already holds a run", "press Resume to go on with it, or choose another folder", request.run)
    if request.resume and not state.begun:
        raise cellvjepa.UserError("there is no run to go on with here", "press Start", request.run)
