"""Encoders as others publish them: the files of V-JEPA 2 and 2.1 (arXiv 2506.09985, 2603.14482), with the names we give their weights.

Two layouts: Meta's checkpoints (``torch.save``; read with ``weights_only``, so that no file can run code) and Hugging Face's
safetensors, one file or a folder. Nothing here believes a file: :mod:`cellvjepa.model.public_weights` checks what was read.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from cellvjepa.errors import UserError
from cellvjepa.model.layers import Frequencies

Tensors = Mapping[str, torch.Tensor]

_SUFFIXES = {".pt", ".pth", ".tar", ".bin", ".ckpt"}
_INDEX, _SINGLE, _CONFIG = "model.safetensors.index.json", "model.safetensors", "config.json"
_AS_PUBLISHED = "download the file again, from where V-JEPA 2 is published (docs/weights.md lists the files)"
_TRAINED = ("target_encoder", "ema_encoder")
_UNUSED = re.compile(r"pos_embed|img_mod_embed|patch_embed_img\..*|norms_block\..*|video_mod_embed")
_HUGGING_FACE = (
    (re.compile(r"^encoder\.embeddings\.patch_embeddings\.proj\."), "patch_embed.proj."),
    (re.compile(r"^encoder\.layernorm\."), "norm."),
    (re.compile(r"^encoder\.layer\.(\d+)\.attention\.proj\."), r"blocks.\1.attn.proj."),
    (re.compile(r"^encoder\.layer\.(\d+)\.attention\.(query|key|value)\."), r"blocks.\1.attn.\2."),
    (re.compile(r"^encoder\.layer\."), "blocks."),
)


@dataclass(frozen=True)
class PublicFile:
    """What was read from a public file, unchecked.

    ``context`` and ``target`` hold the weights of the two encoders by the names of :class:`cellvjepa.model.encoder.Encoder`, except that
    ``patch_embed.proj.weight`` is still the public kernel (D, C, T, Y, X); both are the same where the file has one encoder.
    ``heads`` is None where the file does not say. Tensors may be windows into the file.
    """

    family: str
    rope: Frequencies
    heads: int | None
    context: Tensors
    target: Tensors


def is_public(source: Path) -> bool:
    """Return whether a path is to be read as weights published by others, by its name and what lies in it; nothing is loaded."""
    if source.is_dir():
        return any((source / name).is_file() for name in (_CONFIG, _SINGLE, _INDEX)) and not (source / "encoder.safetensors").is_file()
    if source.suffix != ".safetensors":
        return source.suffix in _SUFFIXES and source.is_file()
    try:
        with safe_open(source, framework="pt") as file:
            return "cellvjepa_encoder" not in (file.metadata() or {}) and any(".embeddings.patch_embeddings." in name for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return False


def read_public(source: Path) -> PublicFile:
    """Read a public file, or a folder from Hugging Face.

    Raises
    ------
    UserError
        If it cannot be read, would have to run code, holds no encoder of V-JEPA 2 or 2.1, or is V-JEPA 1.
    """
    if source.is_dir() or source.suffix == ".safetensors":
        return _read_hugging_face(source)
    return _read_meta(source)


def _read_meta(path: Path) -> PublicFile:
    saved = _unpickled(path)
    parts = {name: _named(part) for name, part in saved.items() if isinstance(part, dict)} if isinstance(saved, dict) else {}
    trained = next((parts[name] for name in (*_TRAINED, "encoder") if name in parts), None)
    if trained is None:
        raise UserError("there is no encoder of V-JEPA 2 in this file (no 'target_encoder', 'ema_encoder' or 'encoder')", _AS_PUBLISHED, path)
    _refuse_first_version(trained, parts.get("predictor", {}), path)
    newer = any(name.startswith("norms_block.") for name in trained)
    target = _from_meta(trained, path)
    context = _from_meta(parts["encoder"], path) if "encoder" in parts else target
    return PublicFile("V-JEPA 2.1" if newer else "V-JEPA 2", "interleaved" if newer else "tiled", None, context, target)


def _unpickled(path: Path) -> Any:
    try:
        # weights_only: tensors and plain values alone; anything else in the file is an error before it is made.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        asked = f" (it asks for {named[1][:60]})" if named else ""
        raise UserError(
            f"the file holds more than weights{asked}, which could run code on this computer, and is not opened",
            "use the file as its authors publish it, or the safetensors of the same model",
            path,
        ) from None
    except Exception as error:
        # A damaged pickle can fail in any way: a wrong index, a missing key, a type that cannot be called.
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"the file cannot be read as a PyTorch checkpoint ({first})", _AS_PUBLISHED, path) from None


def _named(part: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.detach() for name, tensor in part.items() if isinstance(name, str) and isinstance(tensor, torch.Tensor)}
    return {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in tensors.items()}


def _refuse_first_version(trained: Tensors, predictor: Tensors, path: Path) -> None:
    """Refuse V-JEPA 1, whose files have the same names.

    It adds a position to each token, and so has ``pos_embed``, but V-JEPA 2's older files keep one too, unused. They differ in the
    mask tokens: V-JEPA 1 has one for each of its 2 mask generators, V-JEPA 2 one more for each clip length it was trained on (10).
    """
    if "pos_embed" not in trained:
        return
    tokens = sum(1 for name in predictor if name.startswith("mask_tokens."))
    if tokens <= 2:
        found = "this is V-JEPA 1" if predictor else "this may be V-JEPA 1: it adds positions to tokens, and no predictor tells which version it is"
        raise UserError(
            f"{found}. Its encoder has other positions than ours and its licence forbids commercial use (CC BY-NC)",
            "take a file of V-JEPA 2 or 2.1 (MIT), whole as published",
            path,
        )


def _from_meta(part: Tensors, path: Path) -> Tensors:
    named = {name: tensor for name, tensor in part.items() if not _UNUSED.fullmatch(name)}
    levels = [int(found[1]) for name in part if (found := re.fullmatch(r"norms_block\.(\d{1,4})\.weight", name))]
    if levels:
        for kind in ("weight", "bias"):
            named[f"norm.{kind}"] = part.get(f"norms_block.{max(levels)}.{kind}", torch.zeros(0))
    # V-JEPA 2.1 adds a learned vector to the tokens of a video (another to those of an image): the same as a bias.
    modality, bias = part.get("video_mod_embed"), named.get("patch_embed.proj.bias")
    if modality is not None and bias is not None:
        if modality.shape != (1, 1, *bias.shape):
            raise UserError(f"video_mod_embed is {tuple(modality.shape)}, should be {(1, 1, *bias.shape)}", _AS_PUBLISHED, path)
        named["patch_embed.proj.bias"] = bias.float() + modality.float().flatten()
    return named


def _read_hugging_face(source: Path) -> PublicFile:
    folder, files = (source, _weight_files(source)) if source.is_dir() else (source.parent, [source])
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    if (ours := _name_of(name)) is not None:
                        tensors[ours] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise UserError(f"the file cannot be read as safetensors ({error})", _AS_PUBLISHED, path) from None
    if not tensors:
        raise UserError("there is no encoder of V-JEPA 2 in this file", _AS_PUBLISHED, files[0])
    fused = _fused(tensors, source)
    return PublicFile("V-JEPA 2", "tiled", _told_heads(folder / _CONFIG) if source.is_dir() else None, fused, fused)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    index = folder / _INDEX
    if not index.is_file():
        raise UserError(f"there is no {_SINGLE} here", "download the safetensors of the model, too", folder)
    names = set(_json_object(_json_object_of(index).get("weight_map"), index).values())
    wrong = [name for name in names if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file()]
    if wrong:
        raise UserError(f"the index names a file that is not beside it: {wrong[0]}", "download all files of the model", index)
    return [folder / name for name in sorted(names)]


def _name_of(name: str) -> str | None:
    name = name.removeprefix("vjepa2.")  # a classifier's file holds the encoder below this
    if not name.startswith("encoder."):
        return None
    for pattern, ours in _HUGGING_FACE:
        name = pattern.sub(ours, name)
    return name


def _fused(tensors: dict[str, torch.Tensor], source: Path) -> Tensors:
    fused = {name: tensor for name, tensor in tensors.items() if not re.search(r"\.attn\.(query|key|value)\.", name)}
    for name, query in tensors.items():
        if ".attn.query." not in name:
            continue
        others = [tensors.get(name.replace(".query.", f".{part}.")) for part in ("key", "value")]
        if any(other is None or other.shape != query.shape for other in others):
            raise UserError(f"the parts of {name.replace('.query.', '.{query, key, value}.')} are missing or differ in size", _AS_PUBLISHED, source)
        fused[name.replace(".query.", ".qkv.")] = torch.cat([query, *(other for other in others if other is not None)])
    return fused


def _told_heads(config: Path) -> int | None:
    if not config.is_file():
        return None
    told = _json_object_of(config)
    if told.get("model_type", "vjepa2") != "vjepa2":
        raise UserError(f"this is a model of type '{str(told['model_type'])[:40]}'", "give the folder of a V-JEPA 2 model", config)
    heads = told.get("num_attention_heads")
    return heads if isinstance(heads, int) else None


def _json_object_of(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError("the file cannot be read as JSON", _AS_PUBLISHED, path) from None
    return _json_object(found, path)


def _json_object(found: Any, path: Path) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError("the file is not what it should be: an object was expected", _AS_PUBLISHED, path)
    return found
