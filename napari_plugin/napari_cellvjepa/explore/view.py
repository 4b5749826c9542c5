"""How a plot is looked at: kept in the layers of its store, as plain values, so that it outlives the dock and can stand in a session file."""

from __future__ import annotations

from typing import Any

from napari_cellvjepa.plot.scatter import Scatter
from napari_cellvjepa.plot.toolbar import Toolbar

VIEW_KEY = "cellvjepa_view"  # in a layer's metadata: {"columns": [x, y], "x": [low, high], "y": [low, high], "tool", "how", "tracks"}


def remember(layers: list[Any], columns: tuple[str, str], plot: Scatter, toolbar: Toolbar) -> None:
    """Note in the layers what is seen of two columns, and which buttons are pressed."""
    x, y = plot.limits()
    view = {"columns": list(columns), "x": list(x), "y": list(y), "tool": plot.tool, "how": plot.how, "tracks": toolbar.tracks.isChecked()}
    for layer in layers:
        layer.metadata[VIEW_KEY] = view


def remembered(layers: list[Any]) -> dict[str, Any]:
    """Return what has been noted, or an empty dictionary where it is missing or damaged (session files can be edited)."""
    for layer in layers:
        view = layer.metadata.get(VIEW_KEY)
        if isinstance(view, dict):
            return view
    return {}


def press_buttons(view: dict[str, Any], toolbar: Toolbar) -> None:
    """Press the buttons that were pressed."""
    if view.get("tool") in toolbar.tools:
        toolbar.choose_tool(view["tool"])
    if view.get("how") in toolbar.hows:
        toolbar.choose_how(view["how"])
    if bool(view.get("tracks")) != toolbar.tracks.isChecked():
        toolbar.tracks.click()


def look_as_before(view: dict[str, Any], columns: tuple[str, str], plot: Scatter) -> None:
    """Bring the part of the plot into view that was, if the same columns are plotted."""
    if tuple(view.get("columns", ())) != columns:
        return
    try:
        (x0, x1), (y0, y1) = view["x"], view["y"]
        plot.look_at_limits((float(x0), float(x1)), (float(y0), float(y1)))
    except (KeyError, TypeError, ValueError):
        return  # the whole plot is in view
    plot.refine()
