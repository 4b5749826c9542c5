from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from cellvjepa.config import BlockMaskConfig, Config, differences, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.shipped import presets_folder


def test_the_preset_tiny_is_the_default() -> None:
    assert load_config("tiny") == Config() == load_config(None)


@pytest.mark.parametrize("preset", sorted(p.stem for p in presets_folder().glob("*.yaml")))
def test_presets_are_valid_and_survive_writing(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_what_a_mask_generator_is_shows_in_its_fields() -> None:
    config = load_config(None, ["masks.generators=[{}, {blocks: 2}, {context_places: .3}]"])
    assert [type(generator).__name__ for generator in config.masks.generators] == ["BlockMaskConfig", "BlockMaskConfig", "ForecastMaskConfig"]


def test_overrides_are_read_as_yaml() -> None:
    config = load_config("tiny", ["training.steps=60", "training.learning_rate=3e-4", "model.tubelet=[2, 1, 16, 8]", "clip.z=middle"])
    assert (config.training.steps, config.training.learning_rate, config.model.tubelet, config.clip.z) == (60, 3e-4, (2, 1, 16, 8), "middle")
    assert differences(Config(), config)["training.steps"] == (Config().training.steps, 60)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.stepz=3", r"unknown key 'training\.stepz'\. known here: steps, batch_size"),
        ("trainin.steps=3", r"unknown key 'trainin'\. known here: clip, masks, model"),
        ("training.steps=-1", r"training\.steps = -1: Input should be greater than 0"),
        ("training.steps=many", r"training\.steps = 'many': Input should be a valid integer"),
        ("training.steps", r"--set: 'training\.steps' is not of the form section\.field=value"),
        ("training.steps=[", r"--set: the value of .* is not valid YAML"),
        ("training.steps=2001-13-01", r"--set: the value of .* is not valid YAML"),
        ("clip.pixel_um=.inf", "finite"),
        ("training.seed=99999999999999999999999", "less than"),
        ("clip.frames=15", r"clip\.frames \(15\) must be a multiple of the tubelet's 4 frames"),
        ("clip.size_px=60", r"clip\.size_px \(60\) must be a multiple of the tubelet's 8"),
        ("model.heads=5", r"dim \(128\) must be a multiple of its heads \(5\)"),
        ("masks.generators=[{blocks: 0}]", r"masks\.generators\.0\.blocks = 0: Input should be greater than 0\. correct"),
        ("masks.generators=[{past: 2}]", r"masks\.generators\.0\.past = 2: Input should be less than 1\. correct"),
        ("masks.generators=[{}, {pasd: 1}]", r"unknown key 'masks\.generators\.1\.pasd'\. known here: blocks, area"),
        ("masks.generators=[{past: .5, blocks: 2}]", r"unknown key 'masks\.generators\.0\.blocks'\. known here: past, context_places, target_places"),
        ("masks.generators=[{context_share: .8, target_share: .5}]", r"masks\.generators\.0: context_share \+ target_share must not exceed 1"),
        ("masks.generators=[3]", r"masks\.generators\.0 = 3: Input should be a valid dictionary"),
        ("model.tubelet=[4, 1, 8]", r"model\.tubelet\.3 is missing\. correct"),
        ("clip.z=deepest", r"clip\.z = 'deepest': Input should be 'max', 'middle' or 'stack'\. correct"),
        ("training.accumulation=5", r"accumulation \(5\) must divide batch_size \(32\)"),
    ],
)
def test_a_wrong_setting_gets_one_readable_line(override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        load_config(None, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("training: [", "not valid YAML"), ("just words", "the file holds no sections"), ("training: {stepz: 1}", "unknown key 'training.stepz'")],
)
def test_a_wrong_file_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"mine.yaml: .*{sentence}"):
        load_config(file)


def test_missing_files_and_presets_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="there is no preset named 'huge'. choose one of base, paper, small, tiny"):
        load_config("huge")


def test_every_field_explains_itself() -> None:
    def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
        return [f.annotation for f in model.model_fields.values() if isinstance(f.annotation, type) and issubclass(f.annotation, BaseModel)]

    for section in [*sections(Config), BlockMaskConfig]:
        for name, field in section.model_fields.items():
            assert field.title, f"{section.__name__}.{name} has no title"
            assert field.description, f"{section.__name__}.{name} has no description"


def test_the_stride_of_windows_is_given_in_frames_or_in_minutes() -> None:
    with pytest.raises(UserError, match=r"in frames \(embed.stride_frames\) and in minutes \(embed.stride_min\): give one of them"):
        load_config(None, ["embed.stride_frames=4", "embed.stride_min=20"])


def test_a_window_in_minutes_spreads_the_frames_over_it() -> None:
    config = load_config(None, ["clip.frames=16", "clip.interval_s=30", "embed.window_min=32"])
    assert config.embed.clip(config.clip) == config.clip.model_copy(update={"interval_s": 120.0})
    assert Config().embed.clip(config.clip) == config.clip
