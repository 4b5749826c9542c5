from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.provenance import Provenance, Source
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.probe import FeatureSpec, Kind, fit_probe, load_probe, predict, save_probe

KINDS: tuple[Kind, ...] = ("linear", "knn", "attentive")


def features_for(kind: Kind, rows: int = 24) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (rows, 1, 2, 1, 3, 3, 8) if kind == "attentive" else (rows, 8)
    return (rng.normal(size=shape) + (np.arange(rows) % 3).reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)


@pytest.fixture
def labels() -> Labels:
    names = np.array(["die", "move", "rest"])[np.arange(24) % 3]
    return Labels(np.arange(24), names, pd.DataFrame(index=range(24)), "labels.csv")


@pytest.fixture
def provenance(shape: ClipShape) -> Provenance:
    return Provenance(Source("a" * 64, "run", "{}", ("archive",)), shape, ("c0",), "mean", "float32", pd.DataFrame())


def fitted(kind: Kind, labels: Labels, provenance: Provenance) -> tuple[np.ndarray, object]:
    features = features_for(kind)
    config = ProbeConfig(kind=kind, attentive_steps=4)
    return features, fit_probe(features, labels, FeatureSpec.of(provenance, features), config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_probe_says_the_same(kind: Kind, tmp_path: Path, labels: Labels, provenance: Provenance) -> None:
    features, probe = fitted(kind, labels, provenance)
    save_probe(probe, tmp_path / "probe")
    again = load_probe(tmp_path / "probe", FeatureSpec.of(provenance, features))
    assert (again.kind, again.classes, again.made_from, again.notes) == (probe.kind, probe.classes, probe.made_from, probe.notes)
    pd.testing.assert_frame_equal(predict(again, features), predict(probe, features))
    assert again.notes["rows per class"] == {"die": 8, "move": 8, "rest": 8}
    assert json.loads((tmp_path / "probe" / "probe.json").read_text())["classes"] == ["die", "move", "rest"]


def test_predictions_are_a_table(labels: Labels, provenance: Provenance) -> None:
    features, probe = fitted("linear", labels, provenance)
    table = predict(probe, features)
    assert list(table.columns) == ["predicted", "probability", "p_die", "p_move", "p_rest"]
    parts = table[["p_die", "p_move", "p_rest"]].to_numpy()
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    np.testing.assert_allclose(table["probability"], parts.max(axis=1))
    assert (table["predicted"] == np.array(["die", "move", "rest"])[parts.argmax(axis=1)]).all()
    assert len(predict(probe, features[:0])) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"source": Source("b" * 64, "run", "{}", ())},
            r"encoder_sha256 is aaaaaaaaaaaa there and bbbbbbbbbbbb here. use the encoder it was made with",
        ),
        ({"clip_shape": ClipShape(4, None, 32, 0.5, None, "max")}, r"clip.frames is 8 there and 4 here; clip.pixel_um is None there and 0.5 here"),
        ({"channels": ("c1",)}, r"channels is \('c0',\) there and \('c1',\) here"),
        ({"pool": "moments"}, r"statistic is mean there and moments here"),
    ],
)
def test_a_probe_is_refused_for_other_features(
    tmp_path: Path, labels: Labels, provenance: Provenance, change: dict[str, object], message: str
) -> None:
    features, probe = fitted("linear", labels, provenance)
    save_probe(probe, tmp_path)
    with pytest.raises(UserError, match=f"the probe was made from other features: {message}"):
        load_probe(tmp_path, FeatureSpec.of(replace(provenance, **change), features))
    with pytest.raises(UserError, match=r"shape is \(8,\) there and \(7,\) here"):
        load_probe(tmp_path, FeatureSpec.of(provenance, features[:, :7]))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_probes_are_refused(kind: Kind, tmp_path: Path, labels: Labels, provenance: Provenance) -> None:
    _, probe = fitted(kind, labels, provenance)
    save_probe(probe, tmp_path)
    path = tmp_path / "probe.safetensors"
    whole = path.read_bytes()
    arrays = load_file(path)
    card = json.loads((tmp_path / "probe.json").read_text())

    def refused(described: object, numbers: dict[str, np.ndarray]) -> None:
        save_file(numbers, path, metadata={"card": json.dumps(described)})
        with pytest.raises(UserError, match=r"probe.safetensors: the probe cannot be read \(.*\). copy the folder again"):
            load_probe(tmp_path)

    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=r"the probe cannot be read"):
        load_probe(tmp_path)
    for name in arrays:
        refused(card, {key: array for key, array in arrays.items() if key != name})
        refused(card, arrays | {name: np.zeros((2, 3, 4, 5), np.float32)})
    refused(card | {"kind": "forest"}, arrays)
    refused(card | {"classes": ["die", "move"]}, arrays)
    refused(card | {"made_from": card["made_from"] | {"shape": [10**12]}}, arrays)
    refused({key: value for key, value in card.items() if key != "made_from"}, arrays)
    refused([], arrays)


def test_where_there_is_no_probe(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="there is no probe here. make one with `cellvjepa probe`"):
            load_probe(path)
