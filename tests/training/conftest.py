"""Fixtures for training with several processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
import torch

from tests.training.several import start


@pytest.fixture
def start_two() -> Iterator[Callable[..., list[subprocess.Popen[str]]]]:
    """Start two processes that meet in a store of this one, as they do in that of torchrun's agent."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started: list[subprocess.Popen[str]] = []

    def start_them(*arguments: str) -> list[subprocess.Popen[str]]:
        started.extend(start(*arguments, rank=rank, count=2, port=store.port) for rank in range(2))
        return started

    yield start_them
    for process in started:
        process.kill()
        process.communicate()
