from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.movies.readers.microscopes import mapped_file
from cellvjepa.movies.readers.microscopes.mapped_file import MappedFile


def test_a_file_that_is_cut_off_says_so_where_touching_it_would_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 1024)
    with MappedFile(str(path)) as mapped:
        assert mapped.part(1000, 1010).tolist() == [i % 256 for i in range(1000, 1010)]
        os.truncate(path, 20_000)
        with pytest.raises(ValueError, match="it should go on to byte 262,144, but ends at 20,000"):
            mapped.part(0, 256 * 1024)
        with pytest.raises(ValueError, match="it should go on to byte 500,000"):
            mapped.part(0, 500_000)


@pytest.mark.parametrize("is_mapped", [True, False])
def test_bytes_are_the_same_however_they_are_had(tmp_path: Path, is_mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_mapped:
        monkeypatch.setattr(mapped_file, "_MADVISE", None)
    path = tmp_path / "bytes"
    content = np.random.default_rng(0).integers(0, 256, 400_000, dtype="uint8")
    path.write_bytes(content.tobytes())
    with MappedFile(str(path)) as mapped:
        np.testing.assert_array_equal(mapped.part(12_345, 54_321), content[12_345:54_321])
        np.testing.assert_array_equal(mapped.scattered(100, 50_000, 30, 4), content[100 : 100 + 150_030])
        assert mapped.part(7, 7).size == 0
