"""Whether a configuration could ever be trained here: a zero too many is said at once, not by the system that kills the process."""

from __future__ import annotations

import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.training.micro_batch import free_bytes
from cellvjepa.training.phases import phases_of
from cellvjepa.training.processes import ALONE, Processes
from cellvjepa.training.shards import encoder_weights, is_sharded, predictor_weights

_FLOAT_BYTES = 4
_COPIES = 5  # of the encoder's weights: context and target encoder, gradients, two moments of AdamW; of the predictor there is one less


def refuse_what_never_fits(config: Config, device: torch.device, processes: Processes = ALONE) -> None:
    """Refuse a network, a batch or monitors that could not be held even if nothing else were there.

    These are lower bounds: what passes may still need smaller parts of a batch, which are found while training begins.

    Parameters
    ----------
    config
        The complete configuration.
    device
        Where the network is.
    processes
        Those that train together: each has its part of a batch, and where the model is in pieces its part of the weights.

    Raises
    ------
    UserError
        If the weights, the clips of one batch or those of the monitors are larger than the free memory; the settings are named.
    """
    clip, host = config.clip, torch.device("cpu")
    weights = _COPIES * encoder_weights(config) + (_COPIES - 1) * predictor_weights(config)
    weights_bytes = _FLOAT_BYTES * weights // (processes.count if is_sharded(config, processes) else 1)
    _refuse("the network with what training keeps of it", weights_bytes, device, "model.dim, model.depth, model.mlp_dim or model.predictor_dim")
    monitored_bytes = 2 * config.monitor.clips * _clip_bytes(clip.frames, clip.size_px)  # each with the same place at another time
    _refuse(f"{config.monitor.clips} clips of the monitors", monitored_bytes, host, "monitor.clips, clip.size_px or clip.frames")
    for phase in phases_of(config):
        batch_bytes = phase.batch_size * _clip_bytes(phase.shape.frames, phase.shape.size_px) // processes.count
        settings = "clip.size_px or clip.frames" if phase.first_step == 0 else "training.cooldown_size_px or training.cooldown_frames"
        _refuse(f"a batch of {phase.batch_size} clips", batch_bytes, host, f"training.batch_size, {settings}")


def _clip_bytes(frames: int, size_px: int) -> int:
    return _FLOAT_BYTES * frames * size_px**2


def _refuse(what: str, needed_bytes: int, device: torch.device, settings: str) -> None:
    free = free_bytes(device)
    if needed_bytes > free:
        found = f"{what} would take {needed_bytes / 2**30:,.0f} GiB of memory, and {free / 2**30:,.1f} GiB are free"
        raise UserError(found, f"make {settings} smaller", f"memory of {device}")
