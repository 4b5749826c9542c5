from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cellvjepa.model.encoder import EncoderShape, new_encoder
from cellvjepa.movies.clips import ClipShape, clip_at, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.probing.tokens import token_features


@pytest.fixture
def movie(tmp_path: Path) -> Movie:
    path = tmp_path / "m.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 1000, (6, 2, 24, 24)).astype(np.uint16)
    tifffile.imwrite(path, pixels, metadata={"axes": "TCYX"})
    return with_levels(open_movie(path))


def test_tokens_stand_where_they_are_in_the_clip(movie: Movie) -> None:
    """The token of each place depends on its own pixels most: with no blocks, on them alone."""
    shape = ClipShape(4, None, 16, None, None, "max")
    encoder = new_encoder(EncoderShape((2, 1, 8, 4), 8, 1, 1, "interleaved", ("t", "y", "x")), torch.Generator().manual_seed(0)).eval()
    encoder.blocks = torch.nn.ModuleList()
    clips = [clip_at(movie, shape, t, 12, 10 + t) for t in range(3)]
    tokens = token_features(encoder, [movie], clips, shape)
    assert tokens.shape == (3, 2, 2, 1, 2, 4, 8)
    for row, clip in enumerate(clips):
        pixels_CTZYX = read_clip(movie, clip, shape)
        for c, t, y, x in np.ndindex(2, 2, 2, 4):
            tubelet = pixels_CTZYX[c, 2 * t : 2 * t + 2, :, 8 * y : 8 * y + 8, 4 * x : 4 * x + 4]
            with torch.inference_mode():
                alone = encoder(torch.from_numpy(tubelet)[None, None])
            np.testing.assert_allclose(tokens[row, c, t, 0, y, x], alone[0, 0], atol=1e-5)
