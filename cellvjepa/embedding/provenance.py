"""Where embeddings come from: the encoder, the clips and the intensity levels behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from cellvjepa import __version__
from cellvjepa.embedding.pooling import STATISTICS, Pool
from cellvjepa.errors import UserError
from cellvjepa.model.weights import EncoderCard
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import known_levels
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.reference import UNKNOWN, Reference


@dataclass(frozen=True)
class Source:
    """The encoder and the archive that embeddings are made from, as the store remembers them.

    Parameters
    ----------
    checkpoint_sha256
        Of the encoder's weights file.
    model
        Path of the model, as the user gave it.
    config
        The run's complete configuration as JSON text.
    archives
        Paths of the archives, as the user gave them.
    reference
        The sampling that the encoder was trained at.
    given
        What the user said about the files of the archives.
    """

    checkpoint_sha256: str
    model: str
    config: str
    archives: tuple[str, ...]
    reference: Reference = UNKNOWN
    given: Given = NOTHING

    @classmethod
    def of(cls, card: EncoderCard, model: str | os.PathLike[str], archives: Iterable[str | os.PathLike[str]], given: Given = NOTHING) -> Source:
        """Return what an encoder's card says, with the paths it and the movies were read from."""
        config = json.dumps(card.provenance.get("config", {}))
        return cls(card.sha256, os.fspath(model), config, tuple(os.fspath(path) for path in archives), reference_of(card), given)


def reference_of(card: EncoderCard) -> Reference:
    """Return the sampling that an encoder was trained at, as its card says.

    Raises
    ------
    UserError
        If the card gives a pixel size or interval that is none.
    """
    interval_s, pixel_um = card.provenance.get("interval_s"), card.provenance.get("pixel_um")
    try:
        reference = Reference(interval_s, PixelSize(**pixel_um) if pixel_um else None)
        known = [value for value in (interval_s, *(asdict(reference.pixel_um).values() if reference.pixel_um else ())) if value is not None]
        if all(0 < float(value) < np.inf for value in known):
            return reference
    except (TypeError, ValueError):
        pass
    raise UserError(f"its card gives no sampling that could be (interval_s {interval_s}, pixel_um {pixel_um})", "copy the run again", "encoder.json")


@dataclass(frozen=True, eq=False)
class Provenance:
    """What a store says about its vectors: ``uns["cellvjepa"]``.

    Parameters
    ----------
    source
        Encoder and archives.
    clip_shape
        What every clip is.
    channels
        Names of the channels whose vectors stand side by side, in this order.
    pool
        How tokens became one vector.
    precision
        In which the network computed: ``"float32"`` or ``"bfloat16"``.
    levels
        The native values that map to 0 and 1: columns movie, channel, low, high.
    follow, mask_weight, hide_neighbours
        How clips follow their cells, and how outlines play a part: the fields of ``embed`` of the same names.
    label_images
        Where the outlines are, if there are some, whether they play a part or not: the uri of the label image by the name of its movie.
    version
        Of cellvjepa.
    date
        When the store was begun: ISO 8601, UTC.
    """

    source: Source
    clip_shape: ClipShape
    channels: tuple[str, ...]
    pool: Pool
    precision: str
    levels: pd.DataFrame
    follow: str = "still"
    mask_weight: float = 0.0
    hide_neighbours: bool = False
    label_images: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__
    date: str = ""

    def to_uns(self) -> dict[str, Any]:
        """Return what AnnData can store: texts, arrays of texts and a table."""
        return {
            "version": self.version,
            "date": self.date or datetime.now(UTC).isoformat(timespec="seconds"),
            "checkpoint_sha256": self.source.checkpoint_sha256,
            "model": self.source.model,
            "config": self.source.config,
            "archives": np.array(self.source.archives, dtype=object),
            "clip_shape": json.dumps(asdict(self.clip_shape)),
            "channels": np.array(self.channels, dtype=object),
            "pool": self.pool,
            "precision": self.precision,
            "follow": self.follow,
            "mask_weight": self.mask_weight,
            "hide_neighbours": self.hide_neighbours,
            "label_images": json.dumps(dict(self.label_images)),
            "reference": json.dumps(asdict(self.source.reference)),
            "given": json.dumps(asdict(self.source.given)),
            "levels": self.levels.set_axis([str(i) for i in range(len(self.levels))], axis="index"),
            "steps": {},
        }

    @classmethod
    def from_uns(cls, uns: Mapping[str, Any]) -> Provenance:
        """Read what :meth:`to_uns` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or is not what :meth:`to_uns` writes.
        """
        shape = json.loads(str(uns["clip_shape"]))
        channels = shape.pop("channels")
        return cls(
            source=Source(
                str(uns["checkpoint_sha256"]),
                str(uns["model"]),
                str(uns["config"]),
                _texts(uns["archives"]),
                _reference(str(uns["reference"])),
                Given(**json.loads(str(uns.get("given", "{}")))),
            ),
            clip_shape=ClipShape(**shape, channels=None if channels is None else tuple(channels)),
            channels=_texts(uns["channels"]),
            pool=_known_pool(str(uns["pool"])),
            precision=str(uns["precision"]),
            levels=pd.DataFrame(uns["levels"]).reset_index(drop=True),
            # Stores of version 0.1 and before know none of these.
            follow=str(uns.get("follow", "still")),
            mask_weight=float(uns.get("mask_weight", 0.0)),
            hide_neighbours=bool(uns.get("hide_neighbours", False)),
            label_images={str(name): str(uri) for name, uri in json.loads(str(uns.get("label_images", "{}"))).items()},
            version=str(uns["version"]),
            date=str(uns["date"]),
        )


def levels_table(movies: Sequence[Movie], channels: Sequence[str]) -> pd.DataFrame:
    """Return the levels of some channels of some movies, one line each: movie, channel, low, high."""
    lines = [
        (movie.name, name, *map(float, known_levels(movie)[movie.channels.index(name)]))
        for movie in sorted(movies, key=lambda m: m.name)
        for name in channels
    ]
    return pd.DataFrame(lines, columns=["movie", "channel", "low", "high"])


def differences(stored: Provenance, now: Provenance) -> list[str]:
    """Say in what two provenances differ that changes the vectors; paths, dates and training options do not.

    Returns
    -------
    list of str
        E.g. ``["clip.frames is 16 in the store and 8 now"]``; empty if the vectors are the same.
    """
    pairs = {
        "the model's checkpoint": (stored.source.checkpoint_sha256[:12], now.source.checkpoint_sha256[:12]),
        **{f"clip.{key}": (value, getattr(now.clip_shape, key)) for key, value in asdict(stored.clip_shape).items()},
        "the list of channels": (list(stored.channels), list(now.channels)),
        "embed.pool": (stored.pool, now.pool),
        "embed.follow": (stored.follow, now.follow),
        "embed.mask_weight": (stored.mask_weight, now.mask_weight),
        "embed.hide_neighbours": (stored.hide_neighbours, now.hide_neighbours),
        "the precision": (stored.precision, now.precision),
        "the sampling of the training": (stored.source.reference, now.source.reference),
    }
    found = [f"{what} is {there} in the store and {here} now" for what, (there, here) in pairs.items() if there != here]
    return found or _level_differences(stored.levels, now.levels)


def _level_differences(stored: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    both = now.merge(stored, how="left", on=["movie", "channel"], suffixes=("", "_stored"))
    changed = both[(both["low"] != both["low_stored"]) | (both["high"] != both["high_stored"])]
    if changed.empty and len(stored) == len(now):
        return []
    if changed.empty:
        return [f"the levels of {len(stored)} channels of movies are in the store, and there are {len(now)} now"]
    first = changed.iloc[0]
    if pd.isna(first["low_stored"]):
        return [f"channel '{first['channel']}' of '{first['movie']}' is not in the store"]
    there, here = (f"{first[f'low{s}']:g} to {first[f'high{s}']:g}" for s in ("_stored", ""))
    return [f"the intensity range of channel '{first['channel']}' of '{first['movie']}' is {there} in the store and {here} now"]


def _reference(text: str) -> Reference:
    values = json.loads(text)
    return Reference(values["interval_s"], PixelSize(**values["pixel_um"]) if values["pixel_um"] else None)


def _known_pool(name: str) -> Pool:
    for known in STATISTICS:
        if name == known:
            return known
    raise ValueError(f"unknown pooling '{name}'")


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in np.atleast_1d(values))
