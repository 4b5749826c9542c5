"""Files with the true key layout and random weights: what transformers says of grey RGB, ours says of one channel."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.fold import RGB_MEAN, RGB_STD
from cellvjepa.model.public_files import is_public
from cellvjepa.model.public_weights import starting_weights
from cellvjepa.model.weights import save_encoder

# Heads of 20 numbers: 6 for each of three axes, and 2 that do not turn.
SHAPE = EncoderShape((2, 1, 16, 16), dim=40, depth=3, heads=2, rope="tiled", axes=("t", "y", "x"), pixel_mean=0.23, pixel_std=0.19)
NEWER = dataclasses.replace(SHAPE, rope="interleaved")
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("transformers")
        _ = module.VJEPA2Model
    return module


@pytest.fixture(scope="module")
def public(transformers: Any) -> Any:
    """A V-JEPA 2 model of transformers for clips of 8 x 64 x 64, with random weights large enough to matter."""
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=8, tubelet_size=2, hidden_size=40, num_attention_heads=2, num_hidden_layers=3,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=10,
    )  # fmt: skip
    model = transformers.VJEPA2Model(config).eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(0.15 * torch.randn(parameter.shape, generator=rng) + (parameter == 1))
    return model


@pytest.fixture(scope="module")
def folder(public: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as downloaded from Hugging Face."""
    path = tmp_path_factory.mktemp("vjepa2")
    public.save_pretrained(path)
    return path


def said_of(public: Any, grey_BTYX: torch.Tensor) -> torch.Tensor:
    """What the public model says of grey clips between 0 and 1, given as RGB in the way it expects."""
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (RGB_MEAN, RGB_STD))
    rgb = (grey_BTYX[:, :, None].expand(-1, -1, 3, -1, -1) - mean) / std
    tokens: torch.Tensor = public(rgb, skip_predictor=True).last_hidden_state
    return tokens


def ours(source: Path, shape: EncoderShape = SHAPE, which: str = "target") -> Callable[[torch.Tensor], torch.Tensor]:
    """Return our encoder with weights from a file, for clips (B, T, Y, X) between 0 and 1."""
    encoder = Encoder(shape).requires_grad_(False)
    encoder.load_state_dict(getattr(starting_weights(source, shape), which))
    return lambda grey_BTYX: encoder(grey_BTYX[:, None, :, None])


def meta_layout(public: Any) -> State:
    """The weights of the public model's encoder under the names of Meta's checkpoints."""
    named = {}
    for name, tensor in public.encoder.state_dict().items():
        name = name.replace("embeddings.patch_embeddings.", "patch_embed.").replace("layernorm.", "norm.")
        name = re.sub(r"^layer\.", "blocks.", name).replace(".attention.", ".attn.")
        named[name] = tensor.clone()
    for name in [name for name in named if ".query." in name]:
        parts = [named.pop(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        named[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return named


def prefixed(state: State) -> State:
    return {f"module.backbone.{name}": tensor for name, tensor in state.items()}


def predictor(mask_tokens: int) -> State:
    return {f"module.backbone.mask_tokens.{index}": torch.zeros(1, 1, 24) for index in range(mask_tokens)}


def checkpoint(path: Path, **parts: State) -> Path:
    """Write a checkpoint as Meta's training code does."""
    rest: dict[str, Any] = {"opt": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}, "scaler": None}
    torch.save({**parts, **rest, "epoch": 40, "loss": 0.4, "batch_size": 24, "world_size": 128, "lr": 1e-6}, path)
    return path


@pytest.fixture
def meta_file(public: Any, tmp_path: Path) -> Path:
    """V-JEPA 2's layout: an unused pos_embed, a context encoder that differs from the target encoder, ten mask tokens."""
    state = meta_layout(public) | {"pos_embed": torch.randn(1, 64, 40)}
    context = {name: 1.01 * tensor for name, tensor in state.items()}
    return checkpoint(tmp_path / "vitl.pt", encoder=prefixed(context), target_encoder=prefixed(state), predictor=predictor(10))


def newer_state(public: Any) -> State:
    """V-JEPA 2.1's layout: four norms, of which the last is used, an embedding for images and a vector for each modality."""
    state = meta_layout(public)
    norm = {kind: state.pop(f"norm.{kind}") for kind in ("weight", "bias")}
    for index in range(4):
        state |= {f"norms_block.{index}.{kind}": tensor + 3 - index for kind, tensor in norm.items()}
    state |= {"patch_embed_img.proj.weight": torch.randn(40, 3, 1, 16, 16), "patch_embed_img.proj.bias": torch.randn(40)}
    return state | {"img_mod_embed": torch.randn(1, 1, 40), "video_mod_embed": torch.randn(1, 1, 40)}


CLIP = torch.rand(2, 8, 64, 64, generator=torch.Generator().manual_seed(1))
CLOSE = {"atol": 1e-4, "rtol": 0}


def test_hugging_face_weights_say_the_same_of_one_channel(public: Any, folder: Path):
    expected = said_of(public, CLIP)
    assert expected.std() > 0.5
    for source in (folder, folder / "model.safetensors"):
        torch.testing.assert_close(ours(source)(CLIP), expected, **CLOSE)
    torch.testing.assert_close(ours(folder, which="context")(CLIP), expected, **CLOSE)


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.25), (0.02, 0.004)])
def test_whatever_the_pixels_of_the_archive(public: Any, folder: Path, mean: float, std: float):
    shape = dataclasses.replace(SHAPE, pixel_mean=mean, pixel_std=std)
    torch.testing.assert_close(ours(folder, shape)(CLIP), said_of(public, CLIP), **CLOSE)


def test_an_eye_for_change_is_for_new_encoders_alone(public: Any, folder: Path):
    torch.testing.assert_close(ours(folder, dataclasses.replace(SHAPE, wave_gains=(1.0, 3.0)))(CLIP), said_of(public, CLIP), **CLOSE)


def test_sharded_weights(public: Any, tmp_path: Path):
    public.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(ours(tmp_path)(CLIP), said_of(public, CLIP), **CLOSE)


def test_a_fine_tuned_classifier_has_the_encoder_too(public: Any, folder: Path, tmp_path: Path):
    state = {f"vjepa2.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state | {"classifier.weight": torch.zeros(5, 40), "pooler.query_tokens": torch.zeros(1, 1, 40)}, tmp_path / "model.safetensors")
    torch.testing.assert_close(ours(tmp_path / "model.safetensors")(CLIP), said_of(public, CLIP), **CLOSE)


def test_half_precision_weights(public: Any, folder: Path, tmp_path: Path):
    halved = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(halved, tmp_path / "model.safetensors")
    weights = starting_weights(tmp_path / "model.safetensors", SHAPE).target
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    torch.testing.assert_close(weights["blocks.1.mlp.fc1.weight"], halved["encoder.layer.1.mlp.fc1.weight"].float())


def test_meta_weights_of_both_encoders(public: Any, meta_file: Path):
    torch.testing.assert_close(ours(meta_file)(CLIP), said_of(public, CLIP), **CLOSE)
    target, context = (getattr(starting_weights(meta_file, SHAPE), which) for which in ("target", "context"))
    torch.testing.assert_close(context["blocks.2.attn.qkv.weight"], 1.01 * target["blocks.2.attn.qkv.weight"])


def test_version_2_1(transformers: Any, public: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The library has no 2.1: its model is made one by the other table of angles and the vector of videos."""
    state = newer_state(public)
    path = checkpoint(
        tmp_path / "vjepa2_1_vitb_dist_vitG_384.pt", encoder=prefixed(state), ema_encoder=prefixed(state), predictor=predictor(8)
    )  # fmt: skip

    def interleaved(x: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        omega = 10000.0 ** (-torch.arange(x.shape[-1] // 2) / (x.shape[-1] // 2))
        turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.exp(1j * pos.unsqueeze(-1) * omega)
        return torch.view_as_real(turned).flatten(-2)

    monkeypatch.setattr(transformers.models.vjepa2.modeling_vjepa2, "rotate_queries_or_keys", interleaved)
    hook = public.encoder.embeddings.register_forward_hook(lambda module, given, tokens: tokens + state["video_mod_embed"])
    try:
        torch.testing.assert_close(ours(path, NEWER)(CLIP), said_of(public, CLIP), **CLOSE)
    finally:
        hook.remove()


def test_single_frames_of_ours_are_doubled_frames_of_theirs(public: Any, folder: Path):
    shape = dataclasses.replace(SHAPE, tubelet=(1, 1, 16, 16))
    torch.testing.assert_close(ours(folder, shape)(CLIP[:, :4]), said_of(public, CLIP[:, :4].repeat_interleave(2, dim=1)), **CLOSE)


def test_four_frames_of_ours_are_averages_of_theirs(public: Any, folder: Path):
    shape = dataclasses.replace(SHAPE, tubelet=(4, 1, 16, 16))
    long = torch.rand(1, 16, 64, 64)
    torch.testing.assert_close(ours(folder, shape)(long), said_of(public, long.unflatten(1, (8, 2)).mean(dim=2)), **CLOSE)


def test_larger_patches_of_ours_see_enlarged_images_as_theirs_see_the_images(public: Any, folder: Path):
    patches = CLIP.unfold(2, 16, 16).unfold(3, 16, 16).reshape(-1, 1, 16, 16)
    enlarged = torch.nn.functional.interpolate(patches, size=(32, 32), mode="bicubic", antialias=True)
    clip = enlarged.reshape(2, 8, 4, 4, 32, 32).permute(0, 1, 2, 4, 3, 5).reshape(2, 8, 128, 128)
    shape = dataclasses.replace(SHAPE, tubelet=(2, 1, 32, 32))
    torch.testing.assert_close(ours(folder, shape)(clip), said_of(public, CLIP), atol=1e-3, rtol=0)


def test_smaller_patches_of_ours(public: Any, folder: Path):
    """The answer to a clip is the public one to the clip enlarged by the pseudo-inverse of reducing, around the mean grey."""
    reduce = torch.nn.functional.interpolate(torch.eye(16, dtype=torch.float64)[None, None], size=(8, 16), mode="bicubic", antialias=True)[0, 0]
    restore = torch.linalg.pinv(reduce).float()
    patches = CLIP[:, :, :32, :32].unfold(2, 8, 8).unfold(3, 8, 8)
    restored = SHAPE.pixel_mean + restore @ (patches - SHAPE.pixel_mean) @ restore.T
    shape = dataclasses.replace(SHAPE, tubelet=(2, 1, 8, 8))
    torch.testing.assert_close(ours(folder, shape)(CLIP[:, :, :32, :32]), said_of(public, restored.transpose(3, 4).reshape(2, 8, 64, 64)), **CLOSE)


def test_another_run_is_brought_to_the_pixels_of_this_one(tmp_path: Path):
    small = dataclasses.replace(SHAPE, tubelet=(2, 1, 8, 8))
    encoder = new_encoder(small, torch.Generator().manual_seed(0))
    save_encoder(encoder, tmp_path, {})
    clip = torch.rand(1, 4, 16, 16)
    for source in (tmp_path, tmp_path / "encoder.safetensors"):
        assert torch.equal(ours(source, small)(clip), encoder(clip[:, None, :, None]))
        other = ours(source, dataclasses.replace(small, pixel_mean=0.6, pixel_std=0.05))(clip)
        torch.testing.assert_close(other, encoder(clip[:, None, :, None]), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="depth is 3 there and 4 here"):
        starting_weights(tmp_path, dataclasses.replace(small, depth=4))


def test_the_weights_do_not_hang_on_the_file(meta_file: Path):
    before = starting_weights(meta_file, SHAPE).target["norm.weight"]
    kept = before.clone()
    meta_file.write_bytes(b"")
    assert torch.equal(before, kept)


@pytest.mark.parametrize(
    ("change", "found", "remedy"),
    [
        ({"depth": 6}, "model.depth 3 where this run has 6", "add --set model.depth=3."),
        (
            {"dim": 80, "depth": 4, "heads": 4},
            "model.dim 40 .* 80, model.depth 3 .* 4",
            "--set model.dim=40 --set model.depth=3 --set model.heads=2.",
        ),
        ({"heads": 4}, "model.heads 2 where this run has 4", "add --set model.heads=2."),
        ({"rope": "interleaved"}, "model.rope tiled where this run has interleaved", "add --set model.rope=tiled."),
    ],
)
def test_other_settings_are_refused_with_the_words_that_mend_it(folder: Path, change: dict[str, Any], found: str, remedy: str):
    with pytest.raises(UserError, match=f"the encoder of this file .V-JEPA 2. has {found}.*{remedy}"):
        starting_weights(folder, dataclasses.replace(SHAPE, **change))


def test_giants_have_hidden_layers_of_their_own_width(transformers: Any, tmp_path: Path):
    """ViT-g and ViT-G: 48/11 and 64/13 times the width, here 4.4 times."""
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=8, tubelet_size=2, hidden_size=40, num_attention_heads=2, num_hidden_layers=3, mlp_ratio=4.4,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=10,
    )  # fmt: skip
    giant = transformers.VJEPA2Model(config).eval().requires_grad_(False)
    giant.save_pretrained(tmp_path / "giant")
    with pytest.raises(UserError, match=r"has model.mlp_dim 176 where this run has 160.*add --set model.mlp_dim=176"):
        starting_weights(tmp_path / "giant", SHAPE)
    wide = dataclasses.replace(SHAPE, mlp_dim=176)
    torch.testing.assert_close(ours(tmp_path / "giant", wide)(CLIP), said_of(giant, CLIP), **CLOSE)


def test_version_2_1_asks_for_its_own_positions(public: Any, tmp_path: Path):
    path = checkpoint(tmp_path / "b.pt", ema_encoder=prefixed(newer_state(public)))
    with pytest.raises(UserError, match=r"V-JEPA 2.1. has model.rope interleaved where this run has tiled. add --set model.rope=interleaved"):
        starting_weights(path, SHAPE)


def test_published_widths_have_their_published_heads(tmp_path: Path):
    """Meta's files do not say how many heads there are; a wrong number would load and be wrong."""
    state = {"patch_embed.proj.weight": torch.zeros(768, 3, 2, 1, 1), "blocks.0.norm1.weight": torch.zeros(768)}
    path = checkpoint(tmp_path / "b.pt", target_encoder=prefixed(state))
    with pytest.raises(UserError, match="model.heads 12 where this run has 8"):
        starting_weights(path, dataclasses.replace(SHAPE, dim=768, depth=1, heads=8))


@pytest.mark.parametrize("axes", [("y", "x"), ("t", "z", "y", "x")])
def test_clips_with_other_axes_are_refused(folder: Path, axes: tuple[Any, ...]):
    with pytest.raises(UserError, match=f"the clips of this run have several along {', '.join(axes)}. choose clip.frames"):
        starting_weights(folder, dataclasses.replace(SHAPE, axes=axes))


def changed(meta_file: Path, change: Callable[[State], object]) -> Path:
    saved = torch.load(meta_file, weights_only=True)
    change(saved["target_encoder"])
    return checkpoint(meta_file.with_name("changed.pt"), target_encoder=saved["target_encoder"], predictor=saved["predictor"])


def _set(name: str, *size: int, dtype: torch.dtype = torch.float32, forged: bool = False) -> Callable[[State], object]:
    """Return what replaces a tensor by zeros of a size; forged: over the four bytes of one."""
    zeros = torch.zeros(1, dtype=dtype).expand(size) if forged else torch.zeros(size, dtype=dtype)
    return lambda state: state.update({f"module.backbone.{name}": zeros})


def _drop(name: str) -> Callable[[State], object]:
    return lambda state: state.pop(f"module.backbone.{name}")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_drop("blocks.1.attn.qkv.bias"), r"blocks.1.attn.qkv.bias is missing, should be \(120,\)"),
        (_drop("patch_embed.proj.weight"), "patch_embed.proj.weight is missing, should be"),
        (_drop("norm.weight"), "norm.weight is missing"),
        (_set("norm.weight", 41), r"norm.weight is \(41,\), should be \(40,\)"),
        (_set("blocks.0.attn.gate", 4), "blocks.0.attn.gate is unknown"),
        (_set("patch_embed.proj.weight", 40, 1, 2, 16, 16), r"is \(40, 1, 2, 16, 16\), should be \(width, 3, frames, y, x\)"),
        (_set("blocks.0.norm1.weight", 40, forged=True), "norm1.weight does not hold the numbers it claims"),
        (_set("patch_embed.proj.weight", 40, 3, 2**20, 2**10, 2**10, forged=True), "patch_embed.proj.weight does not hold the numbers"),
        (_set("norm.bias", 40, dtype=torch.int64), "norm.bias does not hold the numbers"),
        (_set("video_mod_embed", 1, 1, 4), r"video_mod_embed is \(1, 1, 4\), should be \(1, 1, 40\)"),
        (_set("blocks.0.mlp.fc1.weight", 176, 40), r"model.mlp_dim 176 where this run has 160.*add --set model.mlp_dim=176"),
    ],
)
def test_tensors_that_are_not_an_encoder_are_refused(meta_file: Path, change: Callable[[State], object], found: str):
    with pytest.raises(UserError, match=found):
        starting_weights(changed(meta_file, change), SHAPE)


class Wish:
    """Unpickling it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pt", ".pth.tar"])
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path: Path, suffix: str):
    made, path = tmp_path / "made", tmp_path / f"vitl{suffix}"
    torch.save({"target_encoder": {"module.backbone.norm.weight": torch.zeros(3)}, "loss": Wish(made)}, path)
    with pytest.raises(UserError, match=r"vitl.*: the file holds more than weights .it asks for \w+.mkdir., .* is not opened. use the") as refused:
        starting_weights(path, SHAPE)
    assert not made.exists()
    assert "\n" not in str(refused.value)
    torch.load(path, weights_only=False)
    assert made.exists(), "the file was harmless: nothing was tested"


def test_a_pickle_that_is_no_archive_is_refused_and_does_not_run(tmp_path: Path):
    made, path = tmp_path / "made", tmp_path / "vitl.pt"
    torch.save({"target_encoder": Wish(made)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="cannot be read as a PyTorch checkpoint"):
        starting_weights(path, SHAPE)
    assert not made.exists()


@pytest.mark.parametrize("keep", [0, 1, 1000, -2000, -1])
def test_a_truncated_checkpoint_is_refused(meta_file: Path, keep: int):
    meta_file.write_bytes(meta_file.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"vitl.pt: the file cannot be read as a PyTorch checkpoint .* download the file again"):
        starting_weights(meta_file, SHAPE)


@pytest.mark.parametrize("saved", [{"model": 3}, [1, 2], torch.zeros(3), {"encoder": "here"}, {3: {}}])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, saved: object):
    torch.save(saved, tmp_path / "other.pt")
    with pytest.raises(UserError, match="there is no encoder of V-JEPA 2 in this file"):
        starting_weights(tmp_path / "other.pt", SHAPE)


@pytest.mark.parametrize(("tokens", "found"), [(2, "this is V-JEPA 1"), (0, "this may be V-JEPA 1")])
def test_version_1_is_refused(public: Any, tmp_path: Path, tokens: int, found: str):
    state = prefixed(meta_layout(public) | {"pos_embed": torch.zeros(1, 64, 40)})
    path = checkpoint(tmp_path / "vitl16.pth.tar", encoder=state, target_encoder=state, predictor=predictor(tokens))
    with pytest.raises(UserError, match=f"{found}.*CC BY-NC.*V-JEPA 2 or 2.1 .MIT."):
        starting_weights(path, SHAPE)


def test_damaged_folders_are_refused(folder: Path, tmp_path: Path):
    def refused(match: str, **files: str | bytes) -> None:
        for old in tmp_path.iterdir():
            old.unlink()
        for name, content in files.items():
            text = content.encode() if isinstance(content, str) else content
            (tmp_path / name.replace("__", ".")).write_bytes(text)
        with pytest.raises(UserError, match=match):
            starting_weights(tmp_path, SHAPE)

    whole = (folder / "model.safetensors").read_bytes()
    index = "model__safetensors__index__json"
    refused("there is no model.safetensors here", config__json="{}")
    refused("model.safetensors: the file cannot be read as safetensors", model__safetensors=whole[:-8])
    refused("of type 'clip'", model__safetensors=whole, config__json='{"model_type": "clip"}')
    refused("cannot be read as JSON", model__safetensors=whole, config__json="{")
    refused("an object was expected", model__safetensors=whole, config__json="[]")
    refused("an object was expected", **{index: "{}"})
    refused(r"names a file that is not beside it: \.\./other", **{index: json.dumps({"weight_map": {"a": "../other.safetensors"}})})
    refused("names a file that is not beside it: gone", **{index: json.dumps({"weight_map": {"a": "gone.safetensors"}})})


def test_separate_queries_keys_and_values_must_be_complete(folder: Path, tmp_path: Path):
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.attention.key.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"blocks.1.attn.\{query, key, value\}.weight are missing or differ in size"):
        starting_weights(tmp_path, SHAPE)


def test_other_files_are_left_to_the_reader_of_our_own(tmp_path: Path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    for name in ("other.safetensors", "nowhere", "nowhere.pt"):
        assert not is_public(tmp_path / name)
        with pytest.raises(UserError, match="there is no encoder here|not an encoder written by cellvjepa"):
            starting_weights(tmp_path / name, SHAPE)
