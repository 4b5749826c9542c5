"""The loop: clips and masks in, one optimiser step, notes are taken, checkpoints kept.

A step is a function of the configuration and the step's number alone (clips, masks, rates), so a run that was
stopped anywhere continues exactly as if it had not been.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cellvjepa.errors import Cancelled, Stopped, UserError
from cellvjepa.model.vjepa import VJepa
from cellvjepa.progress import Progress, silent
from cellvjepa.training.alarms import Collapse
from cellvjepa.training.checkpoint import load_newest, read_card, save_checkpoint
from cellvjepa.training.examples import make_examples
from cellvjepa.training.metrics import truncate_metrics
from cellvjepa.training.monitor import Health
from cellvjepa.training.notes import Notes
from cellvjepa.training.phases import PhasedStream
from cellvjepa.training.processes import Processes
from cellvjepa.training.selection import BestEncoder
from cellvjepa.training.trainer import Trainer
from cellvjepa.training.watch import Watch


def train(
    trainer: Trainer,
    phases: PhasedStream,
    run: Path,
    measure: Callable[[VJepa], Health],
    *,
    watch: Watch | None = None,
    about: Mapping[str, object] | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Collapse | None:
    """Train to the last step of the configuration, writing ``metrics.jsonl`` and ``checkpoints/`` in ``run``.

    The best encoder so far is kept among the checkpoints (:class:`cellvjepa.training.selection.BestEncoder`).

    Parameters
    ----------
    trainer
        The model and its optimiser, at step 0; with ``resume`` they are brought to the newest checkpoint.
    phases
        Where the clips come from.
    run
        The folder of the run.
    measure
        Measures the monitors on their fixed clips.
    watch
        Scores an encoder on labelled windows; None: there are none.
    about
        What the card of the best encoder so far says of where it comes from, JSON values.
    progress
        Called at each step; if it raises :class:`Cancelled` in any of the processes, a checkpoint is written first, and all end.

    Returns
    -------
    Collapse or None
        Why training was stopped early; None after the last step.

    Raises
    ------
    UserError
        If the loss is not finite, a checkpoint is of another configuration, or the disk is full.
    Cancelled
        If ``progress`` asked for it.
    """
    config = trainer.config.training
    folder, processes = run / "checkpoints", trainer.processes
    best = BestEncoder(folder, about or {})
    start = _begin(trainer, run, best, resume)
    notes = Notes(trainer, phases, run / "metrics.jsonl", measure, best, watch)
    for step in range(start, config.steps + 1):
        stream, scales = phases.at(step)
        with _saved_where_the_data_go_away(trainer, folder, step, best):
            batch = stream.batch(step)
        examples = make_examples(step, batch, trainer.config, scales, trainer.device, processes.part)
        notes.before_step(step)
        if step == config.steps:
            notes.take(step, trainer.evaluate(examples), batch.waited_s, len(batch.clips))
            break
        stopped = _reason_to_stop(progress, step, config.steps, processes)
        if stopped is not None:
            _save(trainer, folder, step, best)
            raise stopped
        notes.take(step, trainer.step(step, examples), batch.waited_s, len(batch.clips))
        if notes.collapse is not None:
            break
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            _save(trainer, folder, step + 1, best)
    if processes.first:
        best.write()
    if notes.collapse is None:
        progress("pretraining", config.steps, config.steps)
    return notes.collapse


def _begin(trainer: Trainer, run: Path, best: BestEncoder, resume: bool) -> int:
    """Bring the trainer and the files of the run to the step it starts from, and return that."""
    folder = run / "checkpoints"
    start = _resume(trainer, folder) if resume else 0
    if start == 0 and trainer.processes.first:
        best.forget()
    if start == 0:  # so it may be killed from now on, wherever its weights came from; and a disk that is too small is found out at once
        _save(trainer, folder, 0, best)
    if trainer.processes.first:
        truncate_metrics(run / "metrics.jsonl", start)
    return start


def _resume(trainer: Trainer, folder: Path) -> int:
    """Bring the trainer to the newest checkpoint, which the first process alone reads: a run may lie on a disk that only it sees."""
    step, parts = 0, dict[str, int]()
    model, optimizer = trainer.whole_state()
    if trainer.processes.first:
        newest = load_newest(folder, model, optimizer, trainer.config)
        step, parts = (0, parts) if newest is None else (newest.step, dict(read_card(newest).parts))
    trainer.go_on_from(model, optimizer)
    step, parts = trainer.processes.from_first((step, parts))
    if trainer.config.training.accumulation is None:
        trainer.parts.update(parts)
    return step


def _save(trainer: Trainer, folder: Path, step: int, best: BestEncoder) -> None:
    trainer.guard.require_good()
    model, optimizer = trainer.whole_state()
    if trainer.processes.first:
        best.write()  # first: a run that goes on from this checkpoint then finds what was the best until there
        save_checkpoint(folder, step, model, optimizer, trainer.config, trainer.parts)


@contextmanager
def _saved_where_the_data_go_away(trainer: Trainer, folder: Path, step: int, best: BestEncoder) -> Iterator[None]:
    """Lose no step to a share that went away. One of several processes cannot ask the others to save: they wait for its step."""
    try:
        yield
    except UserError:
        if trainer.processes.count == 1:
            _save(trainer, folder, step, best)
        raise


def _reason_to_stop(progress: Progress, step: int, steps: int, processes: Processes) -> Cancelled | None:
    """Tell of a step, and return why to stop before it: the same in all processes, whichever was asked."""
    asked = 0
    try:
        progress("pretraining", step, steps)
    except Stopped as stopped:
        asked = stopped.number
    except Cancelled:
        asked = signal.SIGINT
    asked = processes.largest(asked)
    if asked in (0, signal.SIGINT):
        return Cancelled("pretraining") if asked else None
    return Stopped(asked, f"after step {step}", "--resume goes on")
