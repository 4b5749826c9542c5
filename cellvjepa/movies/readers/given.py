"""What a user says about files that do not say it themselves."""

from __future__ import annotations

from dataclasses import dataclass

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import AXES


@dataclass(frozen=True)
class Given:
    """What is given with ``--axes`` and ``--pattern``; it overrules what files say.

    Parameters
    ----------
    axes
        The axes of every file's array, in its order: ``"TZYX"``. One letter for each axis, or for each that is longer than 1.
    pattern
        How files of one frame are named: ``"{channel}/{well}_t{t}.tif"``.

    Raises
    ------
    UserError
        If the axes are no different letters out of T C Z Y X, or lack Y or X.
    """

    axes: str | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        """Refuse axes that cannot be."""
        if self.axes is None:
            return
        object.__setattr__(self, "axes", self.axes.upper())
        if len(set(self.axes)) != len(self.axes) or not set("YX") <= set(self.axes) <= set(AXES):
            raise UserError(
                f"'{self.axes}' are no axes", "give each axis of the files once, out of T C Z Y X, in their order, e.g. --axes TZYX", "--axes"
            )


NOTHING = Given()
