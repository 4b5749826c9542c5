"""The fixed clips of the monitors: the same for every measurement of a run, each with the same place at another time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.grid import grid_of
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.movies.batch import Batch
from cellvjepa.movies.clip_shape import ClipShape, check_movie
from cellvjepa.movies.clips import Clip, read_clip
from cellvjepa.movies.finishing import finish
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.trouble import GoneError
from cellvjepa.training.examples import Scale, batch_positions

_MASK_STREAM = 6  # keeps these masks apart from those of training
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MonitorClips:
    """What the monitors look at; all on the CPU.

    Parameters
    ----------
    pixels_B1TZYX
        float32 clips as ``read_clip`` gives them.
    scale_B4
        Their sampling relative to the encoder's reference, as for :class:`cellvjepa.model.encoder.Encoder`; None: all at it.
    clips
        Their addresses.
    sources
        The well of each clip where all movies have one, else its movie.
    masks
        One per mask generator, the same at every measurement.
    later_B1TZYX
        The same places at another time; zeros where there is none.
    later_t0_B
        int64: their first native frames; -1 where there is none.
    """

    pixels_B1TZYX: torch.Tensor
    scale_B4: torch.Tensor | None
    clips: tuple[Clip, ...]
    sources: tuple[str, ...]
    masks: tuple[Mask, ...]
    later_B1TZYX: torch.Tensor
    later_t0_B: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    @property
    def follows_B(self) -> npt.NDArray[np.bool_]:
        """Whether the later clip begins where the first would go on: together they are one of twice the length."""
        frames = self.pixels_B1TZYX.shape[2]
        following: npt.NDArray[np.bool_] = self.later_t0_B == np.array([clip.t0 + frames * clip.t_step for clip in self.clips])
        return following

    @property
    def faster_B1TZYX(self) -> torch.Tensor:
        """Every second frame of both clips together, which is right where :attr:`follows_B`: the same place at twice the frame interval."""
        return torch.cat([self.pixels_B1TZYX, self.later_B1TZYX], dim=2)[:, :, ::2]

    @property
    def overlap_BB(self) -> npt.NDArray[np.bool_]:
        """Whether two clips show the same place, at whatever time: same movie, crops that share a pixel."""
        names = np.array([clip.movie for clip in self.clips])
        corner_B2 = np.array([[clip.y0, clip.x0] for clip in self.clips])
        extent_B2 = np.array([clip.extent[1:] for clip in self.clips])
        apart = np.abs(corner_B2[:, None] - corner_B2)
        reach = np.where(corner_B2[:, None] < corner_B2, extent_B2[:, None], extent_B2)
        near: npt.NDArray[np.bool_] = (names[:, None] == names) & (apart < reach).all(axis=2)
        return near


def gather_monitor_clips(batch: Batch, movies: Sequence[Movie], shape: ClipShape, config: Config, scales: Mapping[str, Scale]) -> MonitorClips:
    """Return what the monitors look at: a batch of clips, and what lies at the same places at another time.

    Parameters
    ----------
    batch
        Clips drawn as those of training are.
    movies
        Their movies, with their levels measured.
    shape
        What a clip is.
    config
        The complete configuration of the run.
    scales
        Sampling of each movie's clips relative to the reference, by name.
    """
    pixels = finish(batch, torch.device("cpu"))
    named = {movie.name: movie for movie in movies}
    later, later_t0 = torch.zeros_like(pixels), np.full(len(batch), -1, np.int64)
    for row, (clip, channel) in enumerate(zip(batch.clips, batch.channels, strict=True)):
        t0 = _another_time(named[clip.movie], clip, shape)
        if t0 is None:
            continue
        try:
            later[row] = torch.from_numpy(read_clip(named[clip.movie], replace(clip, t0=t0), replace(shape, channels=(channel,))))
        except GoneError:
            raise
        except UserError as error:  # damaged: this place has no other time
            _LOG.info("left out of the monitors: %s", error)
            continue
        later_t0[row] = t0
    grid = grid_of(config.clip.frames, pixels.shape[3], config.clip.size_px, config.clip.size_px, config.model.tubelet)
    masks = draw_masks(grid, config.mask_generators, len(batch), np.random.default_rng([config.training.seed, _MASK_STREAM]))
    return MonitorClips(pixels, batch_positions(batch, scales), batch.clips, _sources(batch, named), tuple(masks), later, later_t0)


def refuse_blank(clips: MonitorClips) -> None:
    """Refuse movies in which nothing is to be seen; warn where that is so of most clips.

    Pixels that are no numbers were replaced by one value when the clips were read.

    Raises
    ------
    UserError
        If each clip has one value only.
    """
    pixels_BN = clips.pixels_B1TZYX.flatten(1)
    blank = [clip.movie for clip, low, high in zip(clips.clips, pixels_BN.amin(dim=1), pixels_BN.amax(dim=1), strict=True) if low == high]
    if len(blank) == len(clips):
        raise UserError(
            f"there is nothing to learn from: in each of the {len(clips)} clips looked at all pixels have one value, or are no numbers",
            "look at the movies; if another channel is meant, name it in clip.channels",
            blank[0],
        )
    if 2 * len(blank) > len(clips):
        _LOG.warning("in %d of the %d clips looked at all pixels have one value, or are no numbers, e.g. in %s", len(blank), len(clips), blank[0])


def _another_time(movie: Movie, clip: Clip, shape: ClipShape) -> int | None:
    """Return where the next clip of the same place begins: right after, else right before, else as far away as the movie is long."""
    last = movie.shape["T"] - check_movie(movie, shape).span_frames
    length = shape.frames * clip.t_step
    if clip.t0 + length <= last:
        return clip.t0 + length
    if clip.t0 - length >= 0:
        return clip.t0 - length
    farthest = 0 if clip.t0 > last - clip.t0 else last
    return farthest if farthest != clip.t0 else None


def _sources(batch: Batch, named: Mapping[str, Movie]) -> tuple[str, ...]:
    wells = [named[clip.movie].groups.get("well") for clip in batch.clips]
    if all(wells):
        return tuple(f"{named[clip.movie].groups.get('plate', '')}/{well}" for clip, well in zip(batch.clips, wells, strict=True))
    return tuple(clip.movie for clip in batch.clips)
