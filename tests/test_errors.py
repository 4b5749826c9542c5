from __future__ import annotations

import pickle

from cellvjepa.errors import UserError


def test_a_user_error_is_one_line_with_place_finding_and_remedy() -> None:
    error = UserError("the file is\n empty (0 bytes).", "copy it again", "day2/pos4.tif")
    assert str(error) == "day2/pos4.tif: the file is empty (0 bytes). copy it again."


def test_a_user_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(UserError("found", "do", "here")))  # noqa: S301 - our own bytes
    assert (error.what, error.remedy, error.where) == ("found", "do", "here")
