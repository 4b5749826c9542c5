from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.series.name_pattern import MEANINGS, NamePattern, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("{channel}_t{t}.tif", "GFP_t007.tif", {"channel": "GFP", "t": "007"}),
        ("{channel}_{t}.tif", "my_gfp_12.tif", {"channel": "my_gfp", "t": "12"}),
        ("{movie}_w{channel}_s{field}_t{t}.TIF", "day_1_w1DAPI_s3_t10.TIF", {"movie": "day_1", "channel": "1DAPI", "field": "3", "t": "10"}),
        ("{well}_{field}_{time}.tif", "B2_1_00d04h30m.tif", {"well": "B2", "field": "1", "time": "00d04h30m"}),
        ("{well}_{time}.tif", "B2_2024y01m05d_14h30m.tif", {"well": "B2", "time": "2024y01m05d_14h30m"}),
        ("ch{channel}/T{t}.tif", "ch0/T0001.tif", {"channel": "0", "t": "0001"}),
        ("channel{channel}/C{channel}-x_t{t}.tif", "channel2/C2-x_t3.tif", {"channel": "2", "t": "3"}),
        ("*_z{z}*.tif", "anything_z4_at_all.tif", {"z": "4"}),
        ("a{{{t}}}.tif", "a{5}.tif", {"t": "5"}),
        ("{plate}/r{row}c{column}.tif", "day 1/r2c3.tif", {"plate": "day 1", "row": "2", "column": "3"}),
    ],
)
def test_a_pattern_reads_names(pattern: str, path: str, values: dict[str, str]) -> None:
    assert parse_pattern(pattern).match(path) == values
    assert parse_pattern(pattern).text == pattern


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{channel}_t{t}.tif", "GFP_tx.tif"),
        ("{channel}_t{t}.tif", "day1/GFP_t1.tif"),  # a field does not reach into another folder
        ("{channel}_t{t}.tif", "_t1.tif"),  # nor is it empty
        ("channel{channel}/C{channel}_t{t}.tif", "channel2/C1_t3.tif"),  # twice the same field, not the same text
        ("t{t}.tif", "t1.tif.bak"),
        ("t{t}.tif", "t1.tif\n"),
        ("t{t}.tif", "t\u0663.tif"),  # int() would read other alphabets' digits
        ("{time}.tif", "00d04h.tif"),
    ],
)
def test_names_that_do_not_fit(pattern: str, path: str) -> None:
    assert parse_pattern(pattern).match(path) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", r"--pattern: the pattern is empty\. give one, for instance"),
        ("{chanel}_t{t}.tif", r"in the pattern '\{chanel\}_t\{t\}\.tif' \{chanel\} is unknown\. the fields are \{t\}, \{time\}, \{channel\}"),
        ("img_{t.tif", r"a brace is alone at '\{'\. close it, or write it twice"),
        ("img_t}.tif", "a brace is alone at '}'"),
        ("{channel}{t}.tif", r"nothing stands between \{channel\} and \{t\}\. write what stands between them"),
        ("img_**_{t}.tif", r"nothing stands between \* and \*"),
        ("{t}0.tif", r"a digit follows \{t\}, which takes all digits"),
        ("{t}_{time}.tif", "time is there twice"),
        ("/data/{t}.tif", "the path is not relative"),
        ("../{t}.tif", "the path is not relative"),
        ("a//{t}.tif", "the path is not relative"),
        ("{}.tif", r"\{\} is unknown"),
    ],
)
def test_a_pattern_that_is_none_is_refused_with_a_remedy(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        parse_pattern(pattern)
    assert "\n" not in str(refused.value)


WORDS = st.text(string.ascii_letters, min_size=1, max_size=6)
NUMBERS = st.text(string.digits, min_size=1, max_size=8)
SEPARATORS = st.sampled_from(["_", "-", "/x_", " ", ".", "__"])


@given(st.lists(st.tuples(st.sampled_from(sorted(set(MEANINGS) - {"time"})), SEPARATORS), min_size=1, max_size=6), st.data())
def test_what_a_pattern_writes_it_reads(fields: list[tuple[str, str]], data: st.DataObject) -> None:
    """Put values into a pattern: the name that comes out gives the values back."""
    values = {meaning: data.draw(NUMBERS if meaning in ("t", "z") else WORDS) for meaning, _ in fields}
    pattern = parse_pattern("".join(f"{{{meaning}}}{separator}" for meaning, separator in fields) + "end.tif")
    name = pattern.fixed(values).literal
    assert name is not None
    assert pattern.match(name) == values


@given(st.text(st.sampled_from("{}*/_.0tab\n\0 "), max_size=30), st.text(max_size=30))
def test_any_text_is_a_pattern_or_an_error(text: str, path: str) -> None:
    try:
        pattern = parse_pattern(text)
    except UserError:
        return
    pattern.match(path)
    assert parse_pattern(pattern.text) == pattern


def test_a_name_that_almost_fits_takes_no_time() -> None:
    """A regular expression would try all ways of putting a thousand underscores between ten stars."""
    pattern = parse_pattern("*_*_*_*_{channel}_*_*_*_*_x{t}.tif")
    before_s = time.perf_counter()
    assert pattern.match("_a" * 1000 + ".tif") is None
    assert pattern.match("_a" * 1000 + "_x3.tif") is not None
    assert time.perf_counter() - before_s < 1


def test_fixed_fields_become_text() -> None:
    pattern = parse_pattern("{movie}_{channel}_{well}_{time}.tif").fixed({"movie": "HC{1}", "well": "B2"})
    assert pattern.text == "HC{{1}}_{channel}_B2_{time}.tif"
    assert pattern.meanings == ("channel", "time")
    assert pattern.literal is None
    assert isinstance(parse_pattern(pattern.text), NamePattern)
