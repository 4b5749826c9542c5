from __future__ import annotations

import pytest
import torch

from cellvjepa.errors import UserError
from cellvjepa.model.device import autocast, choose_device, native_bfloat16, resolve_precision

CPU = torch.device("cpu")


def test_auto_is_a_device_that_works():
    device = choose_device("auto")
    assert float(torch.ones(2, device=device).sum()) == 2
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "xpu"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(UserError, match=rf"^device: there is no device named '{name}'. choose auto, cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_missing_gpu_is_said(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=rf"the device '{name}' is not available \(no CUDA device found by PyTorch .*\). choose auto or cpu"):
        choose_device(name)


def test_a_gpu_too_many_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1").index == 1
    with pytest.raises(UserError, match=r"'cuda:2' is not available \(2 CUDA device\(s\) found\)"):
        choose_device("cuda:2")


def test_missing_mps_is_said(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="'mps' is not available"):
        choose_device("mps")


def test_autocast_follows_the_precision():
    matrix = torch.ones(4, 4)
    with autocast(CPU, "float32"):
        assert (matrix @ matrix).dtype == torch.float32
    with autocast(CPU, "bfloat16"):
        assert (matrix @ matrix).dtype == torch.bfloat16
    with autocast(CPU, "auto"):
        assert (matrix @ matrix).dtype == (torch.bfloat16 if native_bfloat16(CPU) else torch.float32)


def test_auto_precision_is_what_the_hardware_has(monkeypatch):
    monkeypatch.setattr("cellvjepa.model.device.native_bfloat16", lambda device: True)
    assert resolve_precision(CPU, "auto") == "bfloat16"
    assert resolve_precision(CPU, "float32") == "float32"
    monkeypatch.setattr("cellvjepa.model.device.native_bfloat16", lambda device: False)
    assert resolve_precision(CPU, "auto") == "float32"
    assert native_bfloat16(torch.device("mps")) is False
