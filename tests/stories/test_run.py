from typing import get_args

import pytest

from cellvjepa.config import Config, TrainingConfig, load_config
from cellvjepa.stories.run import masks_section


def _asked(config: Config) -> str:
    return masks_section(b"GIF8", config).text


def test_report_says_what_the_network_is_asked_besides_features() -> None:
    assert "2 frames x 8 x 8 px" in _asked(load_config(None, ["model.tubelet=[2, 1, 8, 8]"]))
    motion = _asked(load_config(None, ["training.auxiliary=motion"]))
    assert "how far what is there moves" in motion
    assert "how far" not in _asked(load_config(None, ["training.auxiliary=unrest"]))
    assert "Beside that" not in _asked(load_config(None, ["training.auxiliary=none"]))
    assert "not in pixels" in motion
    assert "not in pixels" not in _asked(load_config(None, ["training.objective=pixels"]))


@pytest.mark.parametrize("field", ["objective", "auxiliary"])
def test_every_choice_has_words(field: str) -> None:
    choices = get_args(TrainingConfig.model_fields[field].annotation)
    config = load_config(None, [])
    said = {_asked(config.model_copy(update={"training": config.training.model_copy(update={field: choice})})) for choice in choices}
    assert len(said) == len(choices) >= 3
