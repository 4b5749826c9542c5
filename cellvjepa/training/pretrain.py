"""Pretraining as one function: from a lab's archive to the encoder to use."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

from cellvjepa.config import Config, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.pixel_statistics import PixelStatistics, pixel_statistics
from cellvjepa.model.predictor_file import predictor_state
from cellvjepa.model.public_weights import starting_weights
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.movies.batch import Batch
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, reference_sampling
from cellvjepa.movies.schedule import WHOLE, Part
from cellvjepa.movies.stream import Stream
from cellvjepa.movies.trouble import Patience
from cellvjepa.progress import Progress, silent
from cellvjepa.training.begun import statistics_begun_with
from cellvjepa.training.checkpoint import list_checkpoints, refuse_another_configuration
from cellvjepa.training.loop import train
from cellvjepa.training.metrics import MetricsRow, read_metrics
from cellvjepa.training.monitor import measure_health
from cellvjepa.training.monitor_clips import gather_monitor_clips, refuse_blank
from cellvjepa.training.phases import PhasedStream, PhaseMovies, movies_of_phases, phases_of
from cellvjepa.training.processes import ALONE, Processes
from cellvjepa.training.recent import remember_run
from cellvjepa.training.selection import kept_step, publish_best
from cellvjepa.training.sharing import check_shares, levelled_once
from cellvjepa.training.sizes import refuse_what_never_fits
from cellvjepa.training.trainer import Trainer
from cellvjepa.training.watch import Watch
from cellvjepa.writing import atomic_path, only_one, remove_leftovers, writable_folder

_LOG = logging.getLogger(__name__)
_ORIGIN = "started_from.txt"
_MONITOR_SEEDS = 10**9  # added to the seed: keeps the monitor's clips apart from those of training


def pretrain(
    movies: tuple[Movie, ...],
    out: str | os.PathLike[str],
    config: Config,
    *,
    resume: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
    processes: Processes = ALONE,
) -> Path:
    """Pretrain an encoder on movies and leave the folder of a run.

    Parameters
    ----------
    movies
        E.g. ``open_archive(path).movies``; those with too few frames for a clip must have been left out.
    out
        The folder of the run; see *RUN* in the documentation for what it holds.
    config
        The complete configuration.
    resume
        Go on from the newest checkpoint in ``out``.
    init_from
        What the encoder starts from: a run or ``encoder.safetensors``, or public weights of V-JEPA 2 or 2.1 (a checkpoint, safetensors,
        or a folder of Hugging Face).
    watch
        Scores an encoder on labelled windows while it trains, e.g. :func:`cellvjepa.stories.labelled.watch_labels`; None: no labels.
    progress
        Told of each step; may cancel, which leaves a checkpoint to resume from.
    processes
        Those that train together (:func:`cellvjepa.training.processes.together`); the first one alone writes.

    Returns
    -------
    Path
        The folder of the run, with ``encoder.safetensors`` and ``encoder.json`` written: the best encoder by the monitors
        (:mod:`cellvjepa.training.selection`), which need not be the last.

    Raises
    ------
    CollapsedError
        If the monitors saw a collapse and stopped the run; the encoder is written all the same, from before it.
    UserError
        If ``out`` holds another run, cannot be written to, ``init_from`` does not fit the configuration, or training fails.
    """
    run = Path(out)
    check_shares(config, processes)
    device = processes.device(choose_device(config.training.device))
    refuse_what_never_fits(config, device, processes)
    with ExitStack() as held:
        if processes.first:
            _check_folder(run, config, resume, init_from)
            held.enter_context(_only_process(run))
            _clean_folder(run, resume)
        movies = levelled_once(movies, config, processes, progress=progress)
        shape = ClipShape.of(config.clip)
        reference = reference_sampling(movies, shape)
        phases = movies_of_phases(phases_of(config), movies, reference)
        clips = gather_monitor_clips(monitor_batch(movies, shape, config), movies, shape, config, phases[0].scales)
        refuse_blank(clips)
        statistics = pixel_statistics(clips.pixels_B1TZYX, config.model.tubelet)
        statistics = processes.from_first(statistics_begun_with(run, movies, statistics, resume) if processes.first else statistics)
        begins = processes.first and not list_checkpoints(run / "checkpoints")  # else weights are the checkpoint's; the others get the first one's
        model = _new_model(config, clips.pixels_B1TZYX.shape[3], statistics, init_from if begins else None, run)
        if processes.first:
            save_config(config, run / "config.yaml")
            remember_run(run)
        about = _provenance(config, movies, reference) | {"started_from": _origin(run)}
        trainer = Trainer(model, config, device, processes)
        with PhasedStream(phases, partial(_phase_stream, config, processes.part)) as stream:
            measure = partial(measure_health, clips=clips, config=config)
            collapse = train(trainer, stream, run, measure, watch=watch, about=about, resume=resume, progress=progress)
        model = trainer.whole_model()
        if processes.first:
            told = about | {"computed": trainer.computed}
            publish_best(run, model.encoder, config.training.steps, told, predictor_state(model, config.mask_generators))
        if collapse is not None:
            raise collapse.error(run, processes.from_first(kept_step(run) if processes.first else 0))
        return run


def run_config(run: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Return the configuration a run was started with.

    Raises
    ------
    UserError
        If ``run`` is not the folder of a run.
    """
    file = Path(run) / "config.yaml"
    if not file.is_file():
        raise UserError("there is no run to resume here (no config.yaml)", "check the folder, or start without --resume", run)
    return load_config(file, overrides)


def monitor_batch(movies: tuple[Movie, ...], shape: ClipShape, config: Config) -> Batch:
    """Return the fixed clips on which the monitors are measured, chosen as training chooses its own; the same for the same seed."""
    seed, blocks = config.training.seed + _MONITOR_SEEDS, min(config.monitor.clips, 2 * config.training.live_blocks)
    with _stream(movies, shape, config, seed, config.monitor.clips, blocks) as stream:
        return stream.batch(0)


def _phase_stream(config: Config, part: Part, of: PhaseMovies) -> Stream:
    return _stream(of.movies, of.phase.shape, config, config.training.seed, of.phase.batch_size, config.training.live_blocks, part)


def _stream(movies: tuple[Movie, ...], shape: ClipShape, config: Config, seed: int, batch_size: int, live_blocks: int, part: Part = WHOLE) -> Stream:
    return Stream(
        movies,
        shape,
        batch_size=batch_size,
        seed=seed,
        live_blocks=live_blocks,
        clips_per_block=config.training.clips_per_block,
        foreground_share=config.clip.foreground_share,
        workers=config.training.data_workers,
        memory_mb=config.training.data_memory_mb,
        patience=Patience(config.training.data_patience_s),
        part=part,
    )


def _new_model(config: Config, planes: int, statistics: PixelStatistics, init_from: str | os.PathLike[str] | None, run: Path) -> VJepa:
    """Build the model for clips of so many planes, with the weights that it starts from."""
    model = build_vjepa(config, config.training.seed, planes, statistics)
    if init_from is not None:
        _start_from(init_from, model, run)
    if config.training.teacher is not None:
        _learn_from(config.training.teacher, model)
    return model


def _only_process(run: Path) -> AbstractContextManager[None]:
    """Keep a run for this process (and those that it trains together with): a second one would remove what it is writing."""
    remedy = "wait for its end, or stop it: put a file named 'stop' into the folder"
    return only_one(writable_folder(run / "checkpoints") / "in_use.lock", "another process trains this run", remedy, run)


def _clean_folder(run: Path, resume: bool) -> None:
    """Remove what a run that was killed left half-written."""
    remove_leftovers(run / "checkpoints", "*")
    for names in ("metrics.jsonl", "config.yaml", "begun_with.json", "encoder.*", "predictor.*"):
        remove_leftovers(run, names)
    if not resume:
        (run / _ORIGIN).unlink(missing_ok=True)


def _check_folder(run: Path, config: Config, resume: bool, init_from: str | os.PathLike[str] | None) -> None:
    known = list_checkpoints(run / "checkpoints")
    published = [name for name in ("encoder.safetensors", "predictor.safetensors") if (run / name).exists()]
    if resume:
        refuse_another_configuration(run_config(run), config, run)
        if not known and init_from is None and _origin(run) is not None:
            raise UserError("this run was stopped before its first checkpoint, and it did not start from random weights", "add its --init-from", run)
        if known and init_from is not None:
            _LOG.warning("%s goes on from its newest checkpoint; the weights of --init-from were read when it began", run)
        if not known and (published or any(row["step"] > 0 for row in _noted(run))):
            remedy = f"put its checkpoints back, or begin a new run that starts from this one: --init-from {run} and another --out"
            raise UserError("this run has no checkpoint left to go on from", remedy, run)
    elif known or (run / "metrics.jsonl").exists():
        raise UserError("this folder already holds a run", "add --resume to go on with it, or choose another --out", run)
    elif published:
        raise UserError(f"this folder already holds an encoder ({published[0]})", "choose another --out", run)


def _noted(run: Path) -> list[MetricsRow]:
    return read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []


def _start_from(source: str | os.PathLike[str], model: VJepa, run: Path) -> None:
    """Give both encoders the weights of another run or of a public file, brought to the pixels of this run's clips.

    So a run is resumed from its configuration and checkpoint alone, wherever it started from; what that was is noted in the run.
    """
    weights = starting_weights(source, model.context_encoder.shape)
    model.context_encoder.load_state_dict(weights.context)
    model.target_encoder.load_state_dict(weights.target)
    with atomic_path(run / _ORIGIN) as part:
        part.write_text(weights.origin + "\n", encoding="utf-8")


def _learn_from(teacher: str, model: VJepa) -> None:
    """Let the target encoder be another run's, brought to the pixels of this run's clips: it says the same of the same clip."""
    model.target_encoder.load_state_dict(starting_weights(teacher, model.context_encoder.shape).target)


def _origin(run: Path) -> str | None:
    """Return what a run started from, which a resumed one is not told; None: from random weights."""
    file = run / _ORIGIN
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def _provenance(config: Config, movies: tuple[Movie, ...], reference: Reference) -> dict[str, object]:
    return {
        "config": config.model_dump(mode="json"),
        "movies": [movie.name for movie in movies],
        "phases": [asdict(phase) for phase in phases_of(config)],
        "levels": {movie.name: None if movie.levels is None else movie.levels.tolist() for movie in movies},
        "interval_s": reference.interval_s,
        "pixel_um": None if reference.pixel_um is None else asdict(reference.pixel_um),
    }
