"""How a run stands, read from its folder alone: while it trains, after it was stopped, or long after, in this process or another.

Nothing here needs the network, so that a window can ask every second.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.config import Config, load_config
from cellvjepa.errors import UserError
from cellvjepa.training.metrics import MetricsRow
from cellvjepa.writing import atomic_path

_WEIGHTS, _CARD, _PREDICTOR = "encoder.safetensors", "encoder.json", ("predictor.safetensors", "predictor.json")
_RATE_LINES = 20  # the speed is that of the last lines


@dataclass(frozen=True)
class MetricsSoFar:
    """The lines of a ``metrics.jsonl`` that grows, as far as it has been read.

    Parameters
    ----------
    rows
        Complete lines, oldest first.
    size_bytes
        Of what has been read.
    last
        The last line as it stands in the file: if it no longer does, the file was written anew.
    """

    rows: tuple[MetricsRow, ...] = ()
    size_bytes: int = 0
    last: bytes = b""


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Parameters
    ----------
    folder
        The folder of the run.
    config
        Its configuration; None until training begins.
    config_ns
        When that was written.
    metrics
        What was logged.
    ended
        Whether training came to its end: the last step, or a collapse that stopped it.
    has_encoder
        Whether there is an encoder to use, be it the best so far.
    checkpoint_step
        The step of the newest checkpoint, which ``--resume`` goes on from; None: there is none.
    """

    folder: Path
    config: Config | None = None
    config_ns: int = 0
    metrics: MetricsSoFar = MetricsSoFar()
    ended: bool = False
    has_encoder: bool = False
    checkpoint_step: int | None = None

    @property
    def rows(self) -> tuple[MetricsRow, ...]:
        """The lines that were logged."""
        return self.metrics.rows

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with."""
        return self.config is not None

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at the speed of the last lines [s]; None where that is not known yet."""
        lines = self.rows[-_RATE_LINES:]
        newest = lines[-_since_last_start(lines) :]
        if self.config is None or len(newest) < 2:
            return None
        first, last = newest[0], newest[-1]
        return (last["seconds"] - first["seconds"]) / (last["step"] - first["step"]) * max(0, self.config.training.steps - last["step"])


def read_run_state(run: str | os.PathLike[str], before: RunState | None = None) -> RunState:
    """Read how a run stands.

    Parameters
    ----------
    run
        The folder of the run; one that is not there yet is a run that has not begun.
    before
        What was read last: only what is new is read then.
    """
    folder = Path(run)
    known = before if before is not None and before.folder == folder else RunState(folder)
    file = folder / "config.yaml"
    written_ns = _written_ns(file)
    config = known.config if written_ns == known.config_ns else _config_or_none(file)
    metrics = read_new_metrics(folder / "metrics.jsonl", known.metrics)
    best_ns = max(_written_ns(folder / _WEIGHTS), _written_ns(_best(folder) / _WEIGHTS))
    return RunState(folder, config, written_ns, metrics, _ended(folder, config, metrics.rows), best_ns > 0, _newest_checkpoint(folder))


def read_new_metrics(path: str | os.PathLike[str], before: MetricsSoFar = MetricsSoFar()) -> MetricsSoFar:
    """Read the lines that were added to a ``metrics.jsonl`` since it was last read; one that is being written is left for the next time.

    A file that was written anew, as by ``--resume``, is read from its beginning; one that is not there has no lines.
    """
    try:
        with Path(path).open("rb") as file:
            file.seek(before.size_bytes - len(before.last))
            added = file.read()
            if not added.startswith(before.last):
                file.seek(0)
                before, added = MetricsSoFar(), file.read()
    except OSError:
        return MetricsSoFar()
    complete = added[: added.rfind(b"\n") + 1][len(before.last) :]
    if not complete:
        return before
    rows = list(before.rows)
    for line in complete.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # damaged: what follows cannot be trusted either
    return MetricsSoFar(tuple(rows), before.size_bytes + len(complete), complete.splitlines(keepends=True)[-1])


def usable_encoder(run: str | os.PathLike[str]) -> Path:
    """Return the folder of the best encoder that a run has, to be used at once: that of the run, once it has ended.

    While it trains, or after it was stopped, the best so far is copied into ``encoder_of_step_N`` in the run's folder, where it
    stays as it is while training goes on.

    Raises
    ------
    UserError
        If the run has kept no encoder yet.
    """
    folder = Path(run)
    best = _best(folder)
    if _written_ns(folder / _WEIGHTS) >= _written_ns(best / _WEIGHTS) > 0 or not (best / _WEIGHTS).is_file():
        if (folder / _WEIGHTS).is_file():
            return folder
        raise UserError("this run has kept no encoder yet", "wait for its next checkpoint, or stop it: it saves one then", folder)
    step = json.loads((best / _CARD).read_text(encoding="utf-8"))["provenance"]["chosen"]["step"]
    copy = folder / f"encoder_of_step_{step}"
    if not copy.exists():
        with atomic_path(copy) as part:
            part.mkdir()
            for name in (_WEIGHTS, _CARD, *_PREDICTOR):
                if (best / name).is_file():
                    shutil.copyfile(best / name, part / name)
    return copy


def _since_last_start(rows: tuple[MetricsRow, ...]) -> int:
    """Count the lines at the end that one process wrote: its clock began at zero."""
    count = 1
    while count < len(rows) and rows[-count - 1]["seconds"] < rows[-count]["seconds"]:
        count += 1
    return count


def _ended(folder: Path, config: Config | None, rows: tuple[MetricsRow, ...]) -> bool:
    """Tell whether the encoder was published after the settings were last written, which begins every part of a run."""
    if config is None or not rows or _written_ns(folder / _WEIGHTS) < _written_ns(folder / "config.yaml"):
        return False
    return rows[-1]["step"] >= config.training.steps or rows[-1]["health"] == "red"


def _newest_checkpoint(folder: Path) -> int | None:
    steps = [path.stem.removeprefix("step_") for path in (folder / "checkpoints").glob("step_*.json")]
    return max((int(step) for step in steps if step.isdigit()), default=None)


def _best(folder: Path) -> Path:
    return folder / "checkpoints" / "best_encoder"


def _written_ns(file: Path) -> int:
    """Return when a file was written; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _config_or_none(file: Path) -> Config | None:
    try:
        return load_config(file)
    except UserError:
        return None
