from __future__ import annotations

import numpy as np
import pandas as pd

from cellvjepa.probing.targets import nuisances_of
from tests.probing.test_nuisances import screen


def test_thirds_and_wells() -> None:
    targets = {t.name: t for t in nuisances_of(screen().assign(intensity=[0.0] * 100 + [1.0] * 28, border_px=np.nan))}
    assert pd.Series(targets["intensity"].classes_N).value_counts().to_dict() == {"low": 100, "high": 28}
    assert targets["distance to the border"].reason == "it is unknown in all rows"
    rows = pd.DataFrame({"row": targets["well row"].classes_N, "well": screen()["well"]}).drop_duplicates()
    assert dict(zip(rows["well"], rows["row"], strict=True)) == {w: {"A": "low", "B": "low", "C": "high", "D": "high"}[w[0]] for w in rows["well"]}
    assert set(targets["folder of the movie"].classes_N) == {"day1", "day2"}
    inside_plates = nuisances_of(screen().assign(movie="plate1.zarr/B/3/0"))
    assert {t.name: t for t in inside_plates}["folder of the movie"].classes_N.tolist() == [""] * 128
