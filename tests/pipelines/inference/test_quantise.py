"""Embeddings in 8 bits: the error is half a step, nodata stays apart, what is clipped is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dofa_cli.pipelines.inference.quantise import INT8_NODATA, Encoding, Int8Scale, OutputDtype, fit_int8

DIM = 5


def tokens(rows: int = 400, seed: int = 0) -> np.ndarray:
    """Tokens (rows, DIM) whose bands differ in range and place."""
    rng = np.random.default_rng(seed)
    return rng.normal([0, 3, -50, 0, 1e4], [0.01, 1, 5, 100, 1], (rows, DIM)).astype(np.float32)


def halves(code: Int8Scale, values: np.ndarray) -> np.ndarray:
    """Half a step, and the rounding of float32 at that value."""
    return code.scale / 2 + 2 * np.spacing(np.abs(values) + np.abs(code.offset))


def test_the_round_trip_errs_by_half_a_step_at_most():
    values = tokens()
    code = fit_int8([values], DIM)
    codes, clipped = code.encode(values)
    assert codes.dtype == np.int8
    assert clipped == 0
    assert (np.abs(code.decode(codes) - values) <= halves(code, values)).all()
    assert np.abs(codes.astype(int)).max() > 90  # the range is used


@given(
    arrays(np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-1e6, 1e6, width=32)),
)
def test_a_sample_always_fits_its_own_code(values):
    code = fit_int8([values], 3)
    codes, clipped = code.encode(values)
    assert clipped == 0
    assert (codes != INT8_NODATA).all()
    assert (np.abs(code.decode(codes) - values) <= halves(code, values)).all()


def test_gdals_scale_and_offset_undo_the_code():
    values = tokens()
    code = fit_int8([values], DIM)
    codes, _ = code.encode(values)
    by_gdal = codes.astype(float) * np.array(code.scale.tolist()) + np.array(code.offset.tolist())
    np.testing.assert_allclose(code.decode(codes), by_gdal, rtol=1e-5, atol=1e-6)


def test_samples_of_several_windows_are_one_sample():
    values = tokens()
    whole, parts = fit_int8([values], DIM), fit_int8(np.array_split(values, 7), DIM)
    np.testing.assert_array_equal(whole.scale, parts.scale)
    np.testing.assert_array_equal(whole.offset, parts.offset)


def test_nan_is_nodata_and_comes_back_as_nan():
    values = tokens().reshape(20, 20, DIM)
    values[3:5, 7:] = np.nan
    code = fit_int8([values.reshape(-1, DIM)], DIM)
    codes, clipped = code.encode(values)
    np.testing.assert_array_equal(codes == INT8_NODATA, np.isnan(values))
    np.testing.assert_array_equal(np.isnan(code.decode(codes)), np.isnan(values))
    assert clipped == 0


def test_values_outside_the_range_are_clipped_counted_and_never_become_nodata():
    code = fit_int8([tokens()], DIM)
    ends = [code.offset + sign * 200 * code.scale for sign in (-1, 1)]
    codes, clipped = code.encode(np.array([*ends, code.offset], np.float32))
    np.testing.assert_array_equal(codes, [[-127] * DIM, [127] * DIM, [0] * DIM])
    assert clipped == 2 * DIM


@pytest.mark.parametrize("value", [0.0, 0.25, -3e4])
def test_a_band_that_is_constant_in_the_sample_keeps_its_value_and_clips_others(value):
    sample = tokens()
    sample[:, 2] = value
    code = fit_int8([sample], DIM)
    assert (code.scale > 0).all()
    np.testing.assert_array_equal(code.decode(code.encode(sample)[0])[:, 2], np.float32(value))
    other = sample.copy()
    other[:3, 2] = [value - 100, value + 100, np.nan]
    codes, clipped = code.encode(other)
    assert codes[:3, 2].tolist() == [-127, 127, INT8_NODATA]
    assert clipped == 2


@pytest.mark.parametrize("samples", [[], [np.full((9, DIM), np.nan, np.float32)]], ids=["none", "all NaN"])
def test_a_sample_without_values_gives_a_code_that_still_works(samples):
    code = fit_int8(samples, DIM)
    assert np.isfinite(code.scale).all()
    assert (code.scale > 0).all()
    codes, clipped = code.encode(np.full((2, DIM), np.nan, np.float32))
    assert (codes == INT8_NODATA).all()
    assert clipped == 0
    small = tokens()[:, :4].clip(-100, 100)
    trimmed = Int8Scale(code.scale[:4], code.offset[:4])
    assert (np.abs(trimmed.decode(trimmed.encode(small)[0]) - small) <= halves(trimmed, small)).all()


def test_the_clipped_share_is_of_valid_values_over_all_tiles():
    encoding = Encoding(OutputDtype.INT8, fit_int8([tokens()], DIM))
    inside, outside = tokens(10), tokens(10) + 1e6
    inside[:5] = np.nan
    encoding(inside)
    assert encoding.clipped_share == 0
    encoding(outside)
    assert encoding.clipped_share == pytest.approx(10 / 15)


def test_a_run_without_valid_values_has_a_clipped_share_of_0():
    encoding = Encoding(OutputDtype.INT8, fit_int8([tokens()], DIM))
    assert (encoding(np.full((3, 3, DIM), np.nan, np.float32)) == INT8_NODATA).all()
    assert encoding.clipped_share == 0


def test_float32_passes_and_float16_rounds_within_its_range():
    values = np.array([[0.1, np.nan, 1e6, -1e6, 3]], np.float32)
    assert Encoding(OutputDtype.FLOAT32)(values) is values
    assert Encoding(OutputDtype.FLOAT32).clipped_share is None
    half = Encoding(OutputDtype.FLOAT16)(values)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, np.array([[0.1, np.nan, 65504, -65504, 3]], np.float16))


@pytest.mark.parametrize("dtype", OutputDtype)
def test_bytes_are_those_of_the_stored_type(dtype):
    code = fit_int8([tokens()], DIM) if dtype is OutputDtype.INT8 else None
    assert Encoding(dtype, code)(tokens()).dtype.itemsize == dtype.bytes
