"""The configuration from a preset, a YAML file or plain values, with overrides; and back into a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cellvjepa.config.masks import BlockMaskConfig, ForecastMaskConfig
from cellvjepa.config.whole import Config, differences
from cellvjepa.errors import UserError
from cellvjepa.shipped import presets_folder
from cellvjepa.writing import atomic_path

_BY_SIZE = ("tiny", "small", "base")
_GENERATORS: dict[str, type[BaseModel]] = {generator.__name__: generator for generator in (BlockMaskConfig, ForecastMaskConfig)}


def load_config(source: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration from a preset name or a YAML file, and apply ``section.field=value`` overrides.

    Parameters
    ----------
    source
        ``"tiny"``, ``"small"``, ``"base"``, ``"paper"``, or the path of a YAML file; ``None`` gives the defaults.
    overrides
        E.g. ``["training.steps=60", "clip.size_px=32"]``; values are written as in YAML.

    Raises
    ------
    UserError
        If the file is missing or no YAML, a key is unknown or a value is not allowed.
    """
    values = {} if source is None else _read_yaml(_config_path(source))
    return config_from(values, overrides, "the configuration" if source is None else source)


def presets() -> dict[str, str]:
    """Return the presets and what each is for, in one sentence, the smallest first."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in presets_folder().glob("*.yaml")}
    about = {name: " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#")) for name, text in texts.items()}
    order = [name for name in _BY_SIZE if name in about]
    return {name: about[name].partition(". ")[0].rstrip(".") + "." for name in [*order, *sorted(set(about) - set(order))]}


def overrides_for(config: Config, base: Config) -> tuple[str, ...]:
    """Return the ``section.field=value`` overrides that make ``config`` of ``base``, as :func:`load_config` takes them."""
    return tuple(f"{field}={_as_yaml(value)}" for field, (_, value) in differences(base, config).items())


def config_from(values: Mapping[str, Any], overrides: Sequence[str] = (), where: str | os.PathLike[str] = "the configuration") -> Config:
    """Make a configuration of plain values, e.g. those kept beside an encoder, and apply overrides.

    Raises
    ------
    UserError
        As :func:`load_config`; ``where`` is named in it.
    """
    changed = {section: dict(fields) if isinstance(fields, Mapping) else fields for section, fields in values.items()}
    for override in overrides:
        _override(changed, override)
    try:
        return Config.model_validate(changed)
    except ValidationError as error:
        raise _readable(error, os.fspath(where)) from None


def save_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write the complete configuration as YAML."""
    with atomic_path(path) as part:
        part.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _as_yaml(value: Any) -> str:
    """Write a value on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("...\n").strip()


def _config_path(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.suffix:
        return path
    presets = {p.stem: p for p in presets_folder().glob("*.yaml")}
    if path.name in presets and path.parent == Path():
        return presets[path.name]
    raise UserError(f"there is no preset named '{source}'", f"choose one of {', '.join(sorted(presets))}, or give the path of a .yaml file")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("the configuration file does not exist", "check the path", path) from None
    except IsADirectoryError:
        raise UserError("this is a folder", "give the path of a .yaml file", path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # an impossible date, or bytes that are no text, are ValueErrors
        raise UserError(f"this is not valid YAML ({error})", "compare it with workflows/configs/tiny.yaml", path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError("the file holds no sections", "write 'training:' and below it, indented, 'steps: 60'", path)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, field = key.strip().partition(".")
    if not equals or not dot:
        raise UserError(f"'{override}' is not of the form section.field=value", "write for example training.steps=60", "--set")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"the value of '{override}' is not valid YAML", "write for example training.steps=60", "--set") from None
    # YAML reads 1e-3 as text (it wants 1.0e-3); people and papers write 1e-3.
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    fields = values.setdefault(section, {})
    if not isinstance(fields, dict):
        raise UserError(f"the section '{section}' holds no fields", "write fields below it, indented", "--set")
    fields[field] = value


def _readable(error: ValidationError, where: str) -> UserError:
    first = error.errors()[0]
    key = _key(first["loc"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key '{key}'", f"known here: {', '.join(_siblings(first['loc']))}", where)
    if first["type"] == "missing":
        found = f"{key} is missing"
    else:
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        found = f"{key}{value}: " * bool(key) + first["msg"].removeprefix("Value error, ")
    # The other members of a union, and the whole that the field is a part of, are the same mistake once more.
    others = {other for other in (_key(each["loc"]) for each in error.errors()) if not f"{key}.".startswith(f"{other}.")}
    return UserError(found + f" (and {len(others)} more)" * bool(others), "correct the value", where)


def _key(loc: tuple[int | str, ...]) -> str:
    """Return the name of a field; in between pydantic tells which member of a union it tried, e.g. ``literal['max','middle','stack']``."""
    members = {*_GENERATORS, "int", "float", "str"}
    return ".".join(str(part) for part in loc if isinstance(part, int) or (part.isidentifier() and part not in members))


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    """Return the fields beside the one that an error is told of."""
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    section = (sections | _GENERATORS).get(str(loc[-2])) if len(loc) > 1 else Config
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else list(Config.model_fields)
