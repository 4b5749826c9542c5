"""A model in pieces is trained as one in one piece: same losses to rounding, same files, whoever goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cellvjepa.config import Config, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.pretrain import pretrain
from cellvjepa.training.processes import ALONE, Processes
from cellvjepa.training.shards import LARGEST_REPLICA, encoder_weights, is_sharded
from cellvjepa.training.sharing import check_shares
from tests.training.several import Starter, assert_same_losses, ended, with_training
from tests.training.sharded_training import stopped_at

SIZES = {"S": (384, 12), "B": (768, 12), "L": (1024, 24), "H": (1280, 32)}


def test_two_processes_with_half_of_the_model_each_train_what_one_does(
    start_two: Starter, toy_archive: Path, tiny_config: Config, tmp_path: Path
) -> None:
    """Steps, monitors, checkpoints and files agree with those of replicas and of one process; checkpoints fit all of them."""
    config = with_training(tiny_config, steps=4, batch_size=8, accumulation=2, target_layers=2, sigreg=0.1)
    movies = open_archive(toy_archive).movies
    one = pretrain(movies, tmp_path / "one", config)
    stopped_at(one, 2, tmp_path / "sharded_from_one")
    save_config(config, tmp_path / "settings.yaml")
    script = Path(__file__).with_name("sharded_training.py")
    codes, _, told = ended(start_two("-W", "error", str(script), str(toy_archive), str(tmp_path)))
    assert codes == [1, 2], told  # the first ends with an error, for which the other, in the middle of a step, must not wait for ever
    assert told.count("Traceback") == told.count("UserError: all was well") == 1, told
    one_from_sharded = pretrain(movies, stopped_at(tmp_path / "sharded", 2, tmp_path / "one_from_sharded"), config, resume=True)
    for run in (tmp_path / "replicas", tmp_path / "sharded", tmp_path / "sharded_from_one", one_from_sharded):
        assert_same_losses(run, one, 1e-5)
        for file in ("encoder.safetensors", "predictor.safetensors", "checkpoints/step_00000004.safetensors"):
            found, wanted = load_file(run / file), load_file(one / file)
            assert found.keys() == wanted.keys()
            for name, tensor in wanted.items():
                torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4, msg=f"{run.name}: {file}: {name}")
    # Resumed as it was begun, it goes on exactly.
    assert_same_losses(tmp_path / "sharded_again", tmp_path / "sharded", 0)
    for file in ("encoder.safetensors", "checkpoints/step_00000004.safetensors"):
        found, wanted = load_file(tmp_path / "sharded_again" / file), load_file(tmp_path / "sharded" / file)
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items()), file


@pytest.mark.parametrize(("size", "sharded"), [("S", False), ("B", False), ("L", False), ("H", True)])
def test_models_above_vit_l_are_sharded_where_there_are_several_processes(size: str, sharded: bool) -> None:
    dim, depth = SIZES[size]
    config = load_config(None, [f"model.dim={dim}", f"model.depth={depth}", "model.heads=16"])
    assert (encoder_weights(config) > LARGEST_REPLICA) == sharded
    assert is_sharded(config, Processes(0, 2)) == sharded
    assert not is_sharded(config, ALONE)
    assert is_sharded(with_training(config, shard="on"), Processes(0, 2))
    assert not is_sharded(with_training(config, shard="on"), ALONE)
    assert not is_sharded(with_training(config, shard="off"), Processes(0, 2))


def test_weights_are_counted_as_they_are(tiny_config: Config) -> None:
    wide = tiny_config.model_copy(update={"model": tiny_config.model.model_copy(update={"mlp_dim": 56})})
    for config in (tiny_config, wide):
        blocks = build_vjepa(config, seed=0).context_encoder.blocks
        assert encoder_weights(config) == sum(parameter.numel() for parameter in blocks.parameters() if parameter.ndim > 1)


def test_blocks_in_pieces_are_not_compiled(tiny_config: Config) -> None:
    config = with_training(tiny_config, compile="on")
    check_shares(config, Processes(0, 2))
    with pytest.raises(UserError, match=r"training\.compile: a model that .* share in pieces is not compiled\. set training\.compile=auto"):
        check_shares(with_training(config, shard="on"), Processes(0, 2))


@pytest.mark.parametrize("name", ["shard", "compile"])
def test_yaml_may_take_on_and_off_for_truth_values(name: str) -> None:
    for word in ("on", "off", "auto"):
        assert getattr(load_config(None, [f"training.{name}={word}"]).training, name) == word
