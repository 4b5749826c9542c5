"""Pixels in: from an archive on disk to the numbers that a network sees.

The way of the data, with the type at each step:

1. a path, ``readers.open_archive`` -> ``Archive``: every movie below a folder, and what was skipped and why
2. ``Movie`` (``movie.py``): lazy pixels, always T C Z Y X, with names and units
3. ``levels.with_levels`` -> ``Movie`` with the native values that become 0 and 1
4. ``clip_shape.py`` and ``clips.py`` -> ``Clip``: an address; ``read_clip`` -> float32 C T Z Y X
5. ``stream.Stream`` -> ``Batch``: the same numbers in bulk, each block of the files decoded once

Beside this way: ``survey.survey`` says what is in an archive and what is wrong with it, ``lazy_array.lazy_array`` shows a
movie to programs that look at pixels.
"""
