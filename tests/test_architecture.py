"""The map of the rooms (CONTRIBUTING.md): a room imports only from the rooms above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cellvjepa"
PLUGIN = ROOT / "napari_plugin" / "napari_cellvjepa"
PLUGIN_ROOMS = ["parts", "plot", "layers", "clips", "session"]  # and then the docks
GROUND = {"errors", "progress", "writing", "shipped", "config"}
MAY_IMPORT = {
    "errors": set(),
    "progress": set(),
    "writing": {"errors"},
    "shipped": {"errors"},
    "config": {"errors", "shipped", "writing"},
    "movies": GROUND,
    "cells": GROUND | {"movies"},
    "model": GROUND,
    "training": GROUND | {"movies", "model"},
    "embedding": GROUND | {"movies", "cells", "model"},
    "probing": GROUND | {"movies", "cells", "model", "embedding"},
    "report": {"errors", "writing"},
    "stories": GROUND | {"movies", "cells", "model", "training", "embedding", "probing", "report"},
    "terminal": {"errors"},
    "cli": GROUND | {"movies", "cells", "model", "training", "embedding", "probing", "report", "stories", "terminal"},
    "__init__": GROUND | {"movies", "cells", "model", "training", "embedding", "probing", "report", "stories"},
    "__main__": {"cli"},
}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide which room they reach"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "cellvjepa" else {node.module or ""}
    return modules


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_rooms_import_only_from_rooms_above(file: Path) -> None:
    room = room_of(file)
    reached = {module.split(".")[1] for module in imported_modules(file) if module.startswith("cellvjepa.")}
    # `from cellvjepa import __version__` is how a room signs its results.
    forbidden = reached - MAY_IMPORT[room] - {room, "__version__"}
    assert not forbidden, f"{room} must not import {sorted(forbidden)}: see the map of the rooms in CONTRIBUTING.md"


def test_every_room_is_on_the_map() -> None:
    rooms = {room_of(file) for file in PACKAGE.rglob("*.py")}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("library", ["timm"])
def test_a_library_behind_one_door(library: str) -> None:
    users = {str(f.relative_to(PACKAGE)) for f in PACKAGE.rglob("*.py") if any(m.split(".")[0] == library for m in imported_modules(f))}
    assert users == {"model/layers.py"}


def test_the_plugin_uses_public_names_only() -> None:
    for file in (ROOT / "napari_plugin").rglob("*.py"):
        for module in imported_modules(file):
            assert module.split(".")[0] not in {"torch", "zarr", "dask", "anndata", "tifffile"}, f"{file.name} imports {module}"
            assert not module.startswith("cellvjepa.") or module.count(".") == 1, f"{file.name} imports {module}: use `import cellvjepa`"


@pytest.mark.parametrize("file", sorted(PLUGIN.rglob("*.py")), ids=lambda f: str(f.relative_to(PLUGIN)))
def test_rooms_of_the_plugin_import_only_from_rooms_above_and_docks_not_from_each_other(file: Path) -> None:
    room = file.relative_to(PLUGIN).parts[0].removesuffix(".py")
    below = PLUGIN_ROOMS.index(room) if room in PLUGIN_ROOMS else len(PLUGIN_ROOMS)
    reached = {module.split(".")[1] for module in imported_modules(file) if module.startswith("napari_cellvjepa.")}
    assert not reached - {room, *PLUGIN_ROOMS[:below]}, file


def test_importing_the_package_is_light() -> None:
    heavy = ["torch", "zarr", "dask", "anndata", "sklearn", "umap", "matplotlib", "pandas", "scipy", "numba", "pydantic", "numpy"]
    code = f"import sys, cellvjepa; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", f"import cellvjepa also imports {done.stdout}"


def test_nothing_refers_to_the_workplace() -> None:
    for folder in ("cellvjepa", "napari_plugin", "tests", "docs", "sample_data"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".md", ".yaml", ".toml", ".csv"} and file != Path(__file__):
                text = file.read_text(encoding="utf-8")
                assert "../shared" not in text, file


def test_the_public_names_resolve_and_are_those_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and node.module != "typing"
        for alias in node.names
    }
    import cellvjepa

    assert seen == set(cellvjepa.__all__) - {"__version__"}
    for name in cellvjepa.__all__:
        assert getattr(cellvjepa, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cellvjepa.nothing
