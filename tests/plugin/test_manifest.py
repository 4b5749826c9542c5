"""What napari learns from the manifest."""

from __future__ import annotations

from importlib.metadata import distribution

import pytest
from npe2 import PluginManifest


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("cellvjepa")


def test_it_bears_the_name_of_the_distribution(manifest: PluginManifest) -> None:
    assert manifest.name == distribution("cellvjepa").name


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    assert manifest.contributions.commands
    manifest.validate_imports()  # raises where one cannot


def test_every_contribution_has_a_command(manifest: PluginManifest) -> None:
    found = manifest.contributions
    commands = {command.id for command in found.commands}
    used = [*found.readers, *found.sample_data, *found.widgets, *(item for menu in (found.menus or {}).values() for item in menu)]
    assert {contribution.command for contribution in used} == commands
