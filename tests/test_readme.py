"""The README is executed: every block after the set-up, in order, in one folder, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python|r)\n(.*?)```", README, flags=re.DOTALL)
SETUP = 'python -m pip install -c constraints.txt -e ".[napari,dev]" && '


def test_the_set_up_is_the_two_agreed_commands() -> None:
    commands = [text.strip() for kind, text in BLOCKS if SETUP in text]
    assert commands == [f"{SETUP}cellvjepa demo", f"{SETUP}python -m pytest"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a checkout shows to a reader of the README."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    return folder


def test_the_blocks_run_one_after_the_other(reader: Path) -> None:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = []
    for kind, text in BLOCKS:
        if SETUP in text:
            continue
        if kind == "r" and shutil.which("Rscript") is None:
            continue
        command = {"sh": ["bash", "-euc", text], "python": [sys.executable, "-c", text], "r": ["Rscript", "-e", text]}[kind]
        done = subprocess.run(command, cwd=reader, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran.append(text)
    assert len(ran) >= 7
    for made in ("runs/first/encoder.safetensors", "runs/first/report.html", "runs/behaviour/report.html", "runs/cells.parquet", "runs/tracks.csv"):
        assert (reader / made).stat().st_size > 0


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), f"README.md points to {target}, which is not there"
