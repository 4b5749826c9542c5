"""Write the simulated movies: cells that are made alike and differ in what they do (dividing and dying cells show it in single frames, too).

    python sample_data/make_sample.py [FOLDER]

Time is cut into three chapters of 16 frames, and in each of them a cell does one of six things. Four cannot be told from one
frame: it *rests*, *jitters* about a place, *migrates* with a direction, or *pulses* in brightness. Once in its life it
*divides* or *dies* by blebbing, which does show in the frames of the event. The four are dealt like cards, seven of each to a
field, so that neither the cell nor the time gives them away:

    frames      0-15             16-31            32-47
    track 1     jittering        resting          dying
    track 2     pulsing          dividing
    track 15                        `-------->    migrating
    track 16                        `-------->    resting

Every cell gets its shape, brightness and texture by the same rules whatever it does. The one trick is brightness: each cell
carries a clock whose phase sets it, and the clock ticks only while the cell pulses. In a single frame a pulsing cell is
therefore as bright as any other.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile
from drawing import Body, Floats, Look, bleb_looks, body_of, camera, illumination, mother_looks, paint

SEED = 20261120
FIELDS, CELLS, CHAPTERS, FRAMES, SIZE_PX = 6, 14, 3, 16, 192
PIXEL_UM, INTERVAL_S = 0.65, 300.0
MARGIN_PX, GAP_PX = 13.0, 1.0
ORDINARY = ("resting", "jittering", "migrating", "pulsing")


class Crowded(Exception):  # noqa: N818 - it is not an error: the cards are dealt again
    """A cell found no free way."""


@dataclass(frozen=True)
class State:
    """Where a cell is: centre (y, x) [px], orientation [rad] and the phase of its brightness [rad]."""

    place_2: Floats
    turn: float
    clock: float

    @property
    def gain(self) -> float:
        """Brightness, about 1."""
        return 1 + 0.42 * float(np.sin(self.clock))


@dataclass(frozen=True)
class Chapter:
    """What a cell does in 16 frames: its state in each, and the daughters, blebs (see drawing.py) and pace of an event.

    An event always ends with the chapter; the faster its pace, the later it begins.
    """

    deed: str
    first: int
    states: tuple[State, ...]
    daughters: tuple[Body, Body]
    blebs_N5: Floats
    pace: float

    def looks(self, body: Body, t: int) -> list[Look]:
        """Return what is seen of it in frame ``t``."""
        state = self.states[t - self.first]
        s = FRAMES - 1 - self.pace * (self.first + FRAMES - 1 - t)
        look = Look(body, float(state.place_2[0]), float(state.place_2[1]), state.turn, t, state.gain)
        if self.deed == "dividing":
            return mother_looks(look, self.daughters, s)
        return bleb_looks(look, self.blebs_N5, s) if self.deed == "dying" else [look]


@dataclass(frozen=True)
class Life:
    """One track; ``parent`` is -1 where there is none."""

    track_id: int
    parent: int
    body: Body
    state: State
    ends: tuple[str, int] | None = None
    chapters: tuple[Chapter, ...] = ()


def walk(deed: str, here_2: Floats, rng: np.random.Generator) -> Floats:
    """Return the centres of one chapter, (16, 2) [px]."""
    if deed == "jittering":
        path = np.zeros((FRAMES, 2))
        for t in range(1, FRAMES):
            path[t] = 0.5 * path[t - 1] + rng.normal(0, 1.3, 2)
        return here_2 + path
    if deed == "migrating":
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, FRAMES))
        return here_2 + rng.uniform(0.95, 1.45) * np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1), axis=0)
    return here_2 + np.cumsum(rng.normal(0, 0.06, (FRAMES, 2)), axis=0)


def free(path: Floats, radius: float, others: Iterable[tuple[Floats, float]]) -> bool:
    """Tell whether a path stays inside the field and clear of the paths of others."""
    inside = path.min() >= MARGIN_PX and path.max() <= SIZE_PX - 1 - MARGIN_PX
    return bool(inside) and all(np.hypot(*(path - other).T).min() > radius + reach + GAP_PX for other, reach in others)


def find_ways(lives: list[Life], deeds: list[str], rng: np.random.Generator) -> list[Floats]:
    """Return a free path for each cell; those that migrate choose last."""
    # A dividing cell becomes twice as long as it was wide.
    reach = [life.body.radius_px * (1.7 if deed == "dividing" else 1.0) for life, deed in zip(lives, deeds, strict=True)]
    ways: dict[int, Floats] = {}
    for i in sorted(range(len(lives)), key=lambda i: deeds[i] == "migrating"):
        for _ in range(80):
            way = walk(deeds[i], lives[i].state.place_2, rng)
            if free(way, reach[i], [(path, reach[j]) for j, path in ways.items()]):
                ways[i] = way
                break
        else:
            raise Crowded
    return [ways[i] for i in range(len(lives))]


def continued(life: Life, deed: str, way: Floats, first: int, rng: np.random.Generator) -> Life:
    """Return the life with one chapter more."""
    turns = life.state.turn + np.cumsum(rng.normal(0, 0.06, FRAMES))
    tick = 2 * np.pi / rng.uniform(4.5, 8) if deed == "pulsing" else 0.0
    states = tuple(State(place, float(turn), life.state.clock + tick * (i + 1)) for i, (place, turn) in enumerate(zip(way, turns, strict=True)))
    # Two halves of a ball have 0.79 of its radius; they flatten as they settle.
    one, other = (replace(body_of(rng), radius_px=0.86 * life.body.radius_px, brightness=life.body.brightness) for _ in range(2))
    n = 14
    peaks, angles = np.linspace(2, 14, n) + rng.uniform(-0.5, 0.5, n), rng.uniform(0, 2 * np.pi, n)
    blebs = np.stack([peaks, angles, rng.uniform(0.28, 0.5, n), rng.uniform(3, 5, n), rng.uniform(0.8, 1.2, n)], axis=1)
    return replace(life, state=states[-1], chapters=(*life.chapters, Chapter(deed, first, states, (one, other), blebs, rng.uniform(1, 1.35))))


def daughters_of(mother: Life, next_id: int) -> list[Life]:
    """Return the two lives that begin where a dividing one ends."""
    born: list[Life] = []
    for side, body in zip((-1, 1), mother.chapters[-1].daughters, strict=True):
        axis = np.array([np.sin(mother.state.turn), np.cos(mother.state.turn)])
        place = mother.state.place_2 + side * 1.3 * body.radius_px * axis
        born.append(Life(next_id + len(born), mother.track_id, body, replace(mother.state, place_2=place)))
    return born


def seeded_cells(number: int, rng: np.random.Generator) -> list[Life]:
    """Return the cells of a field before its first frame, and how each of them will end."""
    early = 3 + number % 2
    ends = [(deed, chapter) for deed in ("dying", "dividing") for chapter in [1] * early + [2] * (7 - early)]
    lives: list[Life] = []
    while len(lives) < CELLS:
        place, body = rng.uniform(MARGIN_PX, SIZE_PX - MARGIN_PX, (1, 2)), body_of(rng)
        if free(place, body.radius_px + 4, [(life.state.place_2[None], life.body.radius_px + 4) for life in lives]):
            state = State(place[0], rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi))
            lives.append(Life(len(lives) + 1, -1, body, state, ends[len(lives)]))
    return lives


def story(number: int, rng: np.random.Generator) -> list[Life]:
    """Return all lives of field ``number``; each of the four ordinary deeds is done seven times in it."""
    deck = [str(deed) for deed in rng.permutation(np.repeat(ORDINARY, 7))]
    lives, done = seeded_cells(number, rng), []
    for chapter in range(CHAPTERS):
        deeds = [life.ends[0] if life.ends and life.ends[1] == chapter else deck.pop() for life in lives]
        ways = find_ways(lives, deeds, rng)
        lives = [continued(life, deed, way, chapter * FRAMES, rng) for life, deed, way in zip(lives, deeds, ways, strict=True)]
        done += [life for life in lives if life.ends and life.ends[1] == chapter]
        lives = [life for life in lives if not (life.ends and life.ends[1] == chapter)]
        for mother in [life for life in done if life.ends == ("dividing", chapter)]:
            lives += daughters_of(mother, max(life.track_id for life in [*done, *lives]) + 1)
    return sorted(done + [life for life in lives if life.chapters], key=lambda life: life.track_id)


def make_field(number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], pd.DataFrame, pd.DataFrame]:
    """Make field ``number`` (1 and up): movie (T, Y, X), label images (T, Y, X), cells and labels."""
    rng = np.random.default_rng([SEED, number])
    while True:
        try:
            lives = story(number, rng)
            break
        except Crowded:
            continue
    light_TYX, background_YX = illumination(rng, CHAPTERS * FRAMES, SIZE_PX)
    movie, labels, cells = [], [], []
    for t, light in enumerate(light_TYX):
        photons, nearest, mask = np.zeros_like(background_YX), np.ones_like(background_YX), np.zeros(background_YX.shape, np.uint8)
        shown = [(life, chapter) for life in lives for chapter in life.chapters if 0 <= t - chapter.first < FRAMES]
        for life, chapter in shown:
            where, glow, distance = paint(chapter.looks(life.body, t), SIZE_PX)
            photons[where] += glow
            mask[where] = np.where(distance < nearest[where], life.track_id, mask[where])
            nearest[where] = np.minimum(nearest[where], distance)
        movie.append(camera(light * (background_YX + photons), rng))
        labels.append(mask)
        area = np.bincount(mask.ravel(), minlength=256)
        for life, chapter in shown:
            y, x = chapter.states[t - chapter.first].place_2
            cells.append((f"field{number}.ome.tif", life.track_id, t, round(y, 3), round(x, 3), area[life.track_id], life.parent))
    deeds = [
        (f"field{number}.ome.tif", life.track_id, chapter.deed, chapter.first, chapter.first + FRAMES) for life in lives for chapter in life.chapters
    ]
    table = pd.DataFrame(cells, columns=["movie", "track_id", "t", "y_px", "x_px", "area_px", "parent_track_id"])
    return np.stack(movie), np.stack(labels), table, pd.DataFrame(deeds, columns=["movie", "track_id", "label", "t_start", "t_stop"])


def write_tiff(path: Path, stack_TYX: npt.NDArray[np.uint8], metadata: dict[str, object]) -> None:
    """Write a stack losslessly; as OME-TIFF if it is named so."""
    ome = path.name.endswith(".ome.tif")
    tifffile.imwrite(
        path, stack_TYX, ome=ome, photometric="minisblack", compression="zlib", compressionargs={"level": 9}, software=False, metadata=metadata
    )


def write(folder: Path) -> None:
    """Make all fields and write movies, label images, cells.csv and labels.csv."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    tables = []
    for number in range(1, FIELDS + 1):
        movie, labels, cells, deeds = make_field(number)
        tables.append((cells.sort_values(["track_id", "t"]), deeds.sort_values(["track_id", "t_start"])))
        scale: dict[str, object] = {f"PhysicalSize{axis}": PIXEL_UM for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        times: dict[str, object] = {"TimeIncrement": INTERVAL_S, "TimeIncrementUnit": "s"}
        # A random identifier would make two runs differ.
        names = {"axes": "TYX", "Channel": {"Name": ["cells"]}, "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"cellvjepa/field{number}"))}
        write_tiff(folder / f"field{number}.ome.tif", movie, names | scale | times)
        write_tiff(folder / "labels" / f"field{number}_labels.tif", labels, {"axes": "TYX"})
    for name, parts in zip(("cells.csv", "labels.csv"), zip(*tables, strict=True), strict=True):
        pd.concat(parts).to_csv(folder / name, index=False, lineterminator="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "simulated")
