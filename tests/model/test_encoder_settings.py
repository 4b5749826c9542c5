"""The settings of an encoder from the head of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.encoder_settings import encoder_config
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.shipped import sample_data_folder


def test_it_is_what_loading_the_encoder_says(tmp_path: Path, tiny_config: Config) -> None:
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path, {"config": tiny_config.model_dump(mode="json")})
    assert encoder_config(tmp_path) == encoder_config(tmp_path / "encoder.safetensors") == tiny_config
    shipped = load_encoder("encoder_tiny")[1].provenance["config"]
    assert encoder_config("encoder_tiny") == encoder_config(sample_data_folder() / "encoder_tiny") == Config.model_validate(shipped)


def test_what_is_no_encoder_is_refused(tmp_path: Path, tiny_config: Config) -> None:
    with pytest.raises(UserError, match="there is no encoder here"):
        encoder_config(tmp_path)
    for content in (b"", b"\xff" * 64, (10).to_bytes(8, "little") + b'{"a": "b"}'):
        (tmp_path / "encoder.safetensors").write_bytes(content)
        with pytest.raises(UserError, match="does not say what clips it was trained on"):
            encoder_config(tmp_path)
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "bare", {})
    with pytest.raises(UserError, match="does not say what clips it was trained on"):
        encoder_config(tmp_path / "bare")
