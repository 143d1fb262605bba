"""Whatever a source holds and a sensor is called: a valid sensor or an error in one line, and no stray file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dofa_cli.errors import DofaError
from dofa_cli.pipelines.add_sensor import Added, add_sensor
from dofa_cli.sensors.making.draft import Identity, content_of
from dofa_cli.sensors.making.found import MOST_BANDS
from dofa_cli.sensors.making.importers import read_responses, read_source
from dofa_cli.sensors.making.write import read_back, to_toml
from dofa_cli.sensors.schema import Sensor

many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

ENVI = b"""ENVI
description = { a; scene }
samples = 4
lines   = 4
bands   = 3
wavelength units = Nanometers
wavelength = {
 450.5, 550.0,
 650.0}
fwhm = {10, 10, 10}
bbl = { 1, 0, 1 }
band names = { blue, green, red }
map info = {UTM, 1, 1, 300000, 5800020, 20, 20, 33, North, WGS-84, units=Meters}
"""


def one_line(error: DofaError) -> str:
    """What the user is told, once it is known to be one line that can be printed."""
    told = str(error)
    assert told
    assert "\n" not in told
    assert len(told) < 1000
    told.encode("utf-8")
    return told


def attempt(sensor_id: str, **options) -> Added | str:
    """What is added, or the error's line."""
    try:
        return add_sensor(sensor_id, **options)
    except DofaError as error:
        return one_line(error)


def outcome(path: Path, read=read_source) -> Sensor | str:
    """The sensor that a source becomes, or the error's line."""
    try:
        found = read(path)
        content, notices = content_of(found, Identity("made"))
        made = read_back("made", to_toml(content))
    except DofaError as error:
        return one_line(error)
    assert len(made.bands) == len(found.bands) <= MOST_BANDS
    assert not any("\n" in notice for notice in notices)
    return made


@pytest.fixture
def source(tmp_path):
    """Write a source and see what becomes of it."""

    def tried(name: str, content: bytes, read=read_source) -> Sensor | str:
        path = tmp_path / name
        path.write_bytes(content)
        return outcome(path, read)

    return tried


numbers = st.one_of(
    st.floats(),
    st.floats(0.4, 2.5),
    st.floats(400, 2500),
    st.integers(),
    st.sampled_from([10**400, -1, 0, True, None, "0.66", "665", "1e999", "nan", "", " ", "1,5", "x", "\ud800"]),
)
words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["red", "B1", "b1", "1", "é", "../../x", "CON", "a" * 300, "\x00", "\ud83d", "R G", "nm", "µm"]),
)
FIELDS = """
bands eo:bands assets item_assets properties summaries stac_version name id eo:center_wavelength center_wavelength
full_width_half_max common_name gsd center_um center_nm fwhm min max unit bbl
"""
TITLES = "id name band center wavelength_nm center_um fwhm fwhm_nm min max gsd common_name unit bbl B1 B2 width_um"
keys = st.one_of(st.sampled_from(FIELDS.split()), words)
anything = st.recursive(
    st.one_of(numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=25,
)
stac_band = st.fixed_dictionaries(
    {},
    optional={
        "name": words,
        "center_wavelength": numbers,
        "eo:center_wavelength": numbers,
        "full_width_half_max": numbers,
        "common_name": words,
        "gsd": numbers,
    },
)
stored = st.one_of(st.fixed_dictionaries({}, optional={"scale": anything, "offset": anything}), anything)
stac = st.fixed_dictionaries(
    {"stac_version": st.just("1.0.0")},
    optional={
        "bands": st.lists(stac_band, max_size=4),
        "properties": st.fixed_dictionaries({}, optional={"eo:bands": st.lists(stac_band, max_size=4), "gsd": numbers}),
        "summaries": st.fixed_dictionaries({}, optional={"bands": st.lists(stac_band, max_size=4), "gsd": anything}),
        "assets": st.dictionaries(
            words,
            st.one_of(
                st.fixed_dictionaries(
                    {"eo:bands": st.lists(stac_band, max_size=3)},
                    optional={"raster:bands": st.lists(stored, max_size=2), "raster:scale": numbers, "gsd": anything},
                ),
                stac_band,
            ),
            max_size=3,
        ),
    },
)
titles = st.one_of(st.sampled_from(TITLES.split()), words)
cells = st.one_of(numbers.map(str), words)


class TestAnything:
    @many
    @given(name=st.sampled_from(["a.json", "a.csv", "a.txt", "a.tsv", "a.hdr"]), content=st.binary(max_size=200))
    def test_bytes(self, source, name, content):
        source(name, content)
        source("srf.csv", content, read_responses)

    @many
    @given(content=anything)
    def test_json(self, source, content):
        source("a.json", json.dumps(content).encode())

    @many
    @given(content=stac)
    def test_stac_documents(self, source, content):
        source("a.json", json.dumps(content).encode())

    @many
    @given(rows=st.lists(st.dictionaries(titles, st.one_of(numbers, words), max_size=4), max_size=4))
    def test_json_tables(self, source, rows):
        source("a.json", json.dumps(rows).encode())

    @many
    @given(
        head=st.lists(titles, max_size=5),
        rows=st.lists(st.lists(cells, max_size=5), max_size=4),
        sign=st.sampled_from([",", ";", "\t", " "]),
        mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
        quote=st.booleans(),
    )
    def test_csv_tables(self, source, head, rows, sign, mark, quote):
        lines = [sign.join(f'"{cell}"' if quote else cell for cell in row) for row in [head, *rows]]
        content = mark + "\n".join(lines).encode("utf-8", "replace")
        source("a.csv", content)
        source("srf.csv", content, read_responses)

    @many
    @given(
        start=st.floats(0.2, 3000),
        responses=st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=6),
    )
    def test_spectral_responses(self, source, start, responses):
        rows = [f"{start * (1 + n / 100)},{a},{b}" for n, (a, b) in enumerate(responses)]
        source("srf.csv", "\n".join(["wavelength,a,b", *rows]).encode(), read_responses)

    @many
    @given(keep=st.integers(0, len(ENVI)))
    def test_headers_cut_off_anywhere(self, source, keep):
        source("a.hdr", ENVI[:keep])

    @many
    @given(at=st.integers(0, len(ENVI)), what=st.binary(max_size=6), over=st.integers(0, 12))
    def test_headers_with_something_overwritten(self, source, at, what, over):
        source("a.hdr", ENVI[:at] + what + ENVI[at + over :])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.json", b"", id="an empty JSON file"),
        pytest.param("a.json", b"3.14", id="a number"),
        pytest.param("a.json", b"null", id="null"),
        pytest.param("a.json", b'"text"', id="text"),
        pytest.param("a.json", b"[]", id="an empty list"),
        pytest.param("a.json", b"[[1,2],[3,4]]", id="lists of numbers"),
        pytest.param("a.json", b"[" * 200_000, id="brackets without end"),
        pytest.param("a.json", b"[" * 100_000 + b"]" * 100_000, id="deeply nested"),
        pytest.param("a.json", b'{"bands":' * 50_000 + b"1" + b"}" * 50_000, id="deeply nested bands"),
        pytest.param("a.json", b'[{"center_um": ' + b"9" * 6000 + b"}]", id="a number of 6000 digits"),
        pytest.param("a.json", b'{"center_um": [0.5, NaN]}', id="NaN"),
        pytest.param("a.json", b'{"center_um": [0.5, Infinity]}', id="infinity"),
        pytest.param("a.json", b'{"center_um": [0.5, -0.6]}', id="a negative wavelength"),
        pytest.param("a.json", b"\xff\xfe\x00", id="half of UTF-16"),
        pytest.param("a.csv", b"", id="an empty table"),
        pytest.param("a.csv", b"\n\n;;;\n", id="separators alone"),
        pytest.param("a.csv", b"center_um\n0.5\n\xb5\n", id="not UTF-8"),
        pytest.param("a.csv", b'name,center_um\n"red,0.66\n', id="a quote without end"),
        pytest.param("a.csv", b"center_um\n" + b"0" * 200_000, id="a cell of 200 000 characters"),
        pytest.param("a.csv", b"a" * 200_000 + b" nm\n1", id="a title of 200 000 characters"),
        pytest.param("a.csv", b"name,center_um\nred,0.66\x00\n", id="a null character"),
        pytest.param("a.csv", b"center,fwhm\n665,0.03\n560,0.03\n", id="centres and widths in different units"),
        pytest.param("a.csv", b"center\n665\n0.56\n", id="centres in different units"),
        pytest.param("a.hdr", b"ENVI", id="an ENVI header without anything"),
        pytest.param("a.hdr", b"ENVI\nbands = -3\nwavelength = {1}", id="a negative number of bands"),
        pytest.param("a.hdr", b"ENVI\nbands = 99999999999999999999\nwavelength = {1}", id="absurdly many bands"),
        pytest.param("a.hdr", b"ENVI\nwavelength = {" + b" " * 300_000 + b"=", id="many blanks"),
        pytest.param("a.hdr", b"nrows 3\nncols 4\n", id="another program's header"),
        pytest.param("a.hdr", ENVI.replace(b"bands   = 3", b"bands   = 4"), id="too few wavelengths"),
        pytest.param("a.hdr", ENVI.replace(b"Nanometers", b"Wavenumber"), id="wavenumbers"),
        pytest.param("a.hdr", ENVI.replace(b"1, 0, 1", b"0, 0, 0"), id="bad bands alone"),
    ],
)
def test_a_broken_source_is_refused_in_one_line(source, name, content):
    assert isinstance(source(name, content), str)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"center_nm\n" + b"500\n" * 1_000_000),
        ("a.json", b"[" + b",".join([b'{"center_um":0.5}'] * 500_000) + b"]"),
        ("a.json", b'{"center_um":[' + b",".join([b"0.5"] * 1_000_000) + b"]}"),
        ("a.json", b'{"stac_version":"1.1.0","bands":[' + b",".join([b"{}"] * 1_000_000) + b"]}"),
        ("a.hdr", b"ENVI\nbands = 1000000\nwavelength = {" + b",".join([b"500"] * 1_000_000) + b"}"),
        ("a.csv", b"," * 3_000_000 + b"\n0.5"),
        ("a.csv", b"x" * 17_000_000),
    ],
    ids=["CSV", "JSON rows", "JSON columns", "STAC", "ENVI", "columns", "bytes"],
)
def test_a_million_bands_are_refused_at_once(source, name, content):
    told = source(name, content)
    assert isinstance(told, str)
    assert len(told) < 300


def test_a_whole_header_is_not_refused(source):
    made = source("a.hdr", ENVI)
    assert [band.id for band in made.bands] == ["blue", "green", "red"]


class TestNames:
    @few
    @given(sensor_id=st.one_of(st.text(max_size=80), words, st.text("./\\~ab", max_size=8)))
    def test_no_id_leads_out_of_the_folder(self, tmp_path, sensor_id):
        folder = tmp_path / "a" / "sensors"
        made = attempt(sensor_id, wavelengths="0.5", into=folder, force=True)
        if not isinstance(made, str):
            assert made.path.parent == folder
            assert made.path.is_file()
            assert made.sensor.id == sensor_id
        assert {path for path in tmp_path.rglob("*") if folder not in path.parents} <= {folder.parent, folder}

    @pytest.mark.parametrize(
        "sensor_id",
        [
            *("", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "C:x", "con", "NUL.x", "COM1", "x" * 65, "é"),
            *("a b", "-x", "a\nb", "a\x00b", "_a", ".hidden", "x.toml", "x.", "ａ"),
        ],
    )
    def test_ids_that_are_no_file_names_everywhere_are_refused(self, tmp_path, sensor_id):
        with pytest.raises(DofaError, match="cannot be the id of a sensor"):
            add_sensor(sensor_id, wavelengths="0.5", into=tmp_path / "sensors")
        assert list(tmp_path.iterdir()) == []

    @few
    @given(names=st.lists(words, min_size=1, max_size=3), text=words)
    def test_any_names_make_a_valid_sensor_or_an_error(self, names, text):
        given_names = ",".join(names)
        values = ",".join("0.5" for _ in given_names.split(","))
        made = attempt("made", wavelengths=values, names=given_names, name=text, aliases=[text], dry_run=True)
        assert isinstance(made, str) or read_back("made", made.text) == made.sensor


@few
@given(
    st.lists(st.floats(), min_size=1, max_size=4),
    st.one_of(st.none(), st.lists(st.floats(), min_size=1, max_size=4)),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
)
def test_any_numbers_make_a_valid_sensor_or_an_error(wavelengths, fwhm, scale, offset, nodata):
    texts = [None if values is None else ",".join(map(repr, values)) for values in (wavelengths, fwhm)]
    scales = {"product_scale": scale, "product_offset": offset, "nodata": nodata}
    made = attempt("made", wavelengths=texts[0], fwhm=texts[1], **scales, dry_run=True)
    if not isinstance(made, str):
        assert all(math.isfinite(band.center_um) for band in made.sensor.bands)
        assert len(made.sensor.bands) == len(wavelengths)
