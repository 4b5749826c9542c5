"""The Explore dock with the toy's store in it. The plugin is imported when a test runs: where there is no display, it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def explored(make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any) -> tuple[Any, Any]:
    """A viewer with the Explore dock, in which the toy's store is plotted."""
    from napari_cellvjepa.explore.dock import ExploreWidget
    from tests.plugin.explore.exploring import show

    viewer = make_napari_viewer(show=True)
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Explore")
    show(widget, mapped_store, qtbot)
    return viewer, widget
