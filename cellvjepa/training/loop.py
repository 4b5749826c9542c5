"""The loop: clips and masks in, one optimiser step, notes are taken, checkpoints kept.

A step is a function of the configuration and the step's number alone (clips, masks, rates), so a run that was
stopped anywhere continues exactly as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cellvjepa.errors import Cancelled
from cellvjepa.model.vjepa import VJepa
from cellvjepa.movies.stream import Stream
from cellvjepa.progress import Progress, silent
from cellvjepa.training.checkpoint import Checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from cellvjepa.training.examples import Scale, make_examples
from cellvjepa.training.metrics import truncate_metrics
from cellvjepa.training.monitor import Health
from cellvjepa.training.notes import Notes
from cellvjepa.training.trainer import Trainer


def train(
    trainer: Trainer,
    stream: Stream,
    run: Path,
    measure: Callable[[VJepa], Health],
    scales: Mapping[str, Scale],
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> None:
    """Train to the last step of the configuration, writing ``metrics.jsonl`` and ``checkpoints/`` in ``run``.

    Parameters
    ----------
    trainer
        The model and its optimiser, at step 0; with ``resume`` they are brought to the newest checkpoint.
    stream
        Where the clips come from.
    run
        The folder of the run.
    measure
        Measures the monitors on their fixed clips.
    scales
        Sampling of each movie's clips relative to the reference, by name.
    progress
        Called at each step; if it raises :class:`Cancelled`, a checkpoint is written first.

    Raises
    ------
    UserError
        If the loss is not finite, a checkpoint is of another configuration, or the disk is full.
    Cancelled
        If ``progress`` asked for it.
    """
    config = trainer.config.training
    folder = run / "checkpoints"
    start = _resume(trainer, folder) if resume else 0
    truncate_metrics(run / "metrics.jsonl", start)
    notes = Notes(trainer, stream, run / "metrics.jsonl", measure)
    for step in range(start, config.steps + 1):
        batch = stream.batch(step)
        examples = make_examples(step, batch, trainer.config, scales, trainer.device)
        notes.before_step(step)
        if step == config.steps:
            notes.take(step, trainer.evaluate(examples), batch.waited_s, len(batch.clips))
            break
        try:
            progress("pretraining", step, config.steps)
        except Cancelled:
            save_checkpoint(folder, step, trainer.model, trainer.optimizer, trainer.config)
            raise
        notes.take(step, trainer.step(step, examples), batch.waited_s, len(batch.clips))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            save_checkpoint(folder, step + 1, trainer.model, trainer.optimizer, trainer.config)
    progress("pretraining", config.steps, config.steps)


def _resume(trainer: Trainer, folder: Path) -> int:
    known: list[Checkpoint] = list_checkpoints(folder)
    if not known:
        return 0
    load_checkpoint(known[-1], trainer.model, trainer.optimizer, trainer.config)
    return known[-1].step
