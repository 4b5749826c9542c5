"""What differs from a preset, as a command line takes it."""

from __future__ import annotations

import pytest

from cellvjepa.config import Config, load_config, overrides_for, presets


def test_presets_are_named_from_small_to_large_with_what_they_are_for() -> None:
    found = presets()
    assert list(found)[:3] == ["tiny", "small", "base"]
    assert found["small"] == "ViT-S for one GPU of 12-24 GB, overnight."
    assert all(text.endswith(".") and len(text) > 20 for text in found.values())


@pytest.mark.parametrize("preset", list(presets()))
def test_overrides_make_one_preset_of_another(preset: str) -> None:
    wanted = load_config(preset)
    for base in presets():
        assert load_config(base, overrides_for(wanted, load_config(base))) == wanted
    assert overrides_for(wanted, wanted) == ()


def test_overrides_are_what_people_write() -> None:
    changes = [
        "training.steps=60",
        "training.learning_rate=3.0e-05",
        "clip.channels=[phase, GFP-H2B]",
        "clip.interval_s=null",
        "training.shard='on'",
        "clip.z=3",
        "masks.generators=[{past: 0.25, context_places: 0.5, target_places: 0.5}]",
    ]
    changed = load_config("tiny", changes)
    assert set(overrides_for(changed, Config())) == set(changes) - {"clip.interval_s=null"}
    timed = load_config("tiny", ["clip.interval_s=60"])
    assert overrides_for(Config(), timed) == ("clip.interval_s=null",)
