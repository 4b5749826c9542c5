"""In processes of their own, with a stand-in for torchvision: what is declared or imported once stays so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What torchvision does at import: its shape functions for these two are registered without asking whether the operators exist.
_WITHOUT_OPERATORS = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda boxes, scores, threshold: boxes)
answer = 42
"""
_TRY = """
from cellvjepa.model.torchvision_ops import import_torchvision
declared = import_torchvision()
import torchvision
print(declared is not None, torchvision.answer)
"""


def _run(tmp_path: Path, stand_in: str, script: str = _TRY) -> subprocess.CompletedProcess[str]:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(stand_in)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_missing_operators_are_declared_even_after_a_failed_import(tmp_path: Path):
    fails = "try:\n    import torchvision\nexcept RuntimeError as error:\n    print(error)\n"
    done = _run(tmp_path, _WITHOUT_OPERATORS, fails + _TRY)
    assert done.stdout.splitlines() == ["operator torchvision::nms does not exist", "True 42"], done.stderr


def test_a_whole_torchvision_is_left_alone(tmp_path: Path):
    done = _run(tmp_path, "answer = 42")
    assert done.stdout.split() == ["False", "42"], done.stderr


def test_another_fault_is_not_hidden(tmp_path: Path):
    done = _run(tmp_path, "raise RuntimeError('something else')")
    assert done.returncode == 1
    assert "something else" in done.stderr


def test_the_layers_import_whatever_torchvision_is_installed():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import cellvjepa.model.layers"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
