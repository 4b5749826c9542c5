"""A run that starts from weights of others: end to end, and resumed without being told again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.pretrain import pretrain

SHAPE = EncoderShape((2, 1, 16, 16), dim=24, depth=2, heads=2, rope="tiled", axes=("t", "y", "x"), in_channels=3)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the layout of V-JEPA 2, whose weights are larger than new ones ever are."""
    rng = torch.Generator().manual_seed(0)
    state = {name: 0.3 * torch.randn(tensor.shape, generator=rng) for name, tensor in Encoder(SHAPE).state_dict().items()}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].reshape(24, 3, 2, 16, 16)
    named = {f"module.backbone.{name}": tensor for name, tensor in state.items()}
    path = tmp_path_factory.mktemp("public") / "vits.pt"
    torch.save({"encoder": named, "target_encoder": named, "epoch": 1}, path)
    return path


@pytest.fixture
def two_steps(tiny_config: Config) -> Config:
    model = tiny_config.model.model_copy(update={"rope": "tiled"})
    training = tiny_config.training.model_copy(update={"steps": 2, "checkpoint_every": 1})
    return tiny_config.model_copy(update={"model": model, "training": training})


def test_a_run_from_public_weights_is_resumed_without_them(
    public: Path, toy_archive: Path, two_steps: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    movies = open_archive(toy_archive).movies
    run = pretrain(movies, tmp_path / "run", two_steps, init_from=public)
    encoder, card = load_encoder(run)
    assert card.provenance["started_from"] == "V-JEPA 2, vits.pt"
    assert (card.shape.tubelet, card.shape.in_channels, card.shape.rope) == ((2, 1, 8, 8), 1, "tiled")
    assert card.shape.pixel_mean != 0.5, "the pixels are standardised as those of the archive"
    published = torch.load(public, weights_only=True)["target_encoder"]
    for name in ("blocks.1.attn.qkv.weight", "blocks.0.mlp.fc2.weight"):
        moved = (encoder.get_parameter(name) - published[f"module.backbone.{name}"]).abs().max()
        assert 0 < moved < 0.01

    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        pretrain(movies, tmp_path / "stopped", two_steps, init_from=public, progress=stopping)
    shutil.copytree(tmp_path / "stopped", tmp_path / "stopped_too")
    pretrain(movies, tmp_path / "stopped_too", two_steps, resume=True, init_from=tmp_path / "gone.pt")  # as a cluster starts the same line again
    assert "goes on from its newest checkpoint; the weights of --init-from were read when it began" in caplog.text
    resumed, card = load_encoder(pretrain(movies, tmp_path / "stopped", two_steps, resume=True))
    assert card.provenance["started_from"] == "V-JEPA 2, vits.pt"
    pixels = torch.rand(1, 1, 8, 1, 32, 32)
    assert torch.equal(resumed(pixels), encoder(pixels))
    assert torch.equal(load_encoder(tmp_path / "stopped_too")[0](pixels), encoder(pixels))


def test_a_run_goes_on_from_another_one(toy_archive: Path, two_steps: Config, tmp_path: Path) -> None:
    movies = open_archive(toy_archive).movies
    first = pretrain(movies, tmp_path / "first", two_steps)
    second = pretrain(movies, tmp_path / "second", two_steps, init_from=first)
    (before, plain), (after, card) = load_encoder(first), load_encoder(second)
    assert plain.provenance["started_from"] is None
    assert card.provenance["started_from"] == str(first)
    assert (after.norm.weight - before.norm.weight).abs().max() < 0.01


def test_settings_that_do_not_fit_are_refused(public: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vits.pt: .* model.rope tiled where this run has interleaved\. add --set model.rope=tiled\."):
        pretrain(open_archive(toy_archive).movies, tmp_path / "run", tiny_config, init_from=public)
    assert not (tmp_path / "run" / "config.yaml").exists()
