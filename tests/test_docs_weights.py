"""What docs/weights.md shows of encoders elsewhere is run, and needs nothing of the trainer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

from cellvjepa.config import load_config
from cellvjepa.model.encoder import EncoderShape, new_encoder
from cellvjepa.model.weights import save_encoder

PAGE = Path(__file__).parent.parent / "docs" / "weights.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_three_lines_load_an_encoder_without_the_trainer(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 3
    shape = EncoderShape((4, 1, 8, 8), dim=24, depth=1, heads=2, rope="interleaved", axes=("t", "y", "x"))
    save_encoder(new_encoder(shape, torch.Generator().manual_seed(0)), tmp_path / "runs" / "first", {})
    check = (
        "import sys\n"
        "assert tokens.shape == (1, 256, 24) and card.shape.dim == 24\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('cellvjepa.')}\n"
        "assert not rooms & {'training', 'movies', 'embedding', 'probing', 'cli'}, rooms\n"
    )
    done = subprocess.run([sys.executable, "-c", code + check], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_settings_shown_are_settings() -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    config = load_config(None, re.findall(r"--set '?([^'\n]+?)'?(?= --set| \\|\n)", command))
    assert (config.model.dim, config.model.rope, config.model.tubelet, config.clip.size_px) == (1024, "tiled", (2, 1, 16, 16), 128)


def test_links_lead_somewhere() -> None:
    assert "(weights.md)" in PAGE.with_name("index.md").read_text(encoding="utf-8")
