"""Maps of places with several inputs."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from shapely.geometry import box

from dofa_cli.errors import DamagedHead, GridError, OptionError, RunDiffers, WrongHead
from dofa_cli.heads.file import load_head, save_head
from dofa_cli.heads.joining import FILL
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.segment import segment
from tests.made import TRANSFORM, UTM, write_raster
from tests.pipelines.inputs.cases import HEIGHT, WIDTH, optical, radar, squares
from tests.pipelines.test_resume import Elsewhere, contents, kill, reported

CELL = 16


@pytest.fixture
def chart(here, heads, tmp_path):
    """Map scenes with one of the heads; returns the report."""

    def chart(*scenes, of="concat", output="map.tif", **options):
        head = heads.get(of, of)
        return segment(scenes, tmp_path / output, head=head, weights=str(here / "tiny.safetensors"), **options)

    return chart


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def steady(report):
    """Return a report without what differs from run to run."""
    return {name: told for name, told in reported(report).items() if name not in ("stages", "peak_memory_bytes")}


def truth():
    return squares() * 4 + 3


@pytest.fixture
def half(here, tmp_path):
    """The radar without its left half, as an input."""
    values = read(here / "s1.tif")
    values[:, :, : WIDTH // 2] = np.nan
    return f"{write_raster(tmp_path / 'half.tif', values, ('VV', 'VH'), nodata=np.nan)}:sentinel1"


@pytest.mark.parametrize("of", ["concat", "mean"])
def test_the_map_shows_what_only_the_second_input_does(chart, s1, s2, of):
    report = chart(s2, s1, of=of)
    assert (read(report.output)[0] == truth()).mean() > 0.9
    assert report.facts.sensor == "sentinel2 + sentinel1"
    assert {rule["input"] for rule in report.facts.rules} == {"sentinel2", "sentinel1"}
    with rasterio.open(report.output) as file:
        tags = file.tags()
    assert [one["source"] for one in json.loads(tags["inputs"])] == ["S2A_MSIL1C_s2.tif", "s1.tif"]
    assert (tags["sensor"], tags["combine"]) == ("sentinel2 + sentinel1", of)
    assert not [note for note in report.facts.notes if "missing" in note]


@pytest.mark.parametrize("of", ["concat", "mean"])
def test_an_input_that_is_not_given_is_one_without_data(chart, here, s2, tmp_path, of):
    said = []
    report = chart(s2, of=of, probabilities=True, dtype="float32", say=said.append)
    empty = np.full((2, HEIGHT, WIDTH), np.nan, np.float32)
    path = write_raster(tmp_path / "empty.tif", empty, ("VV", "VH"), nodata=np.nan)
    other = chart(s2, f"{path}:sentinel1", of=of, output="b.tif", probabilities=True, dtype="float32")
    for name in ("map", "probabilities"):
        np.testing.assert_array_equal(read(report.files[name]), read(other.files[name]))
    assert report.valid_share == 1
    assert any(line.startswith("sentinel1 is not given; ") for line in said)
    assert any(note.startswith("sentinel1 is not given; ") for note in report.facts.notes)
    assert any(note.startswith("sentinel1 is missing in 100.0% of the valid cells") for note in other.facts.notes)


@pytest.mark.parametrize("of", ["concat", "mean"])
def test_where_one_input_has_no_data_the_map_is_that_of_the_other(chart, s2, half, of):
    options = {"of": of, "probabilities": True, "dtype": "float32"}
    said = []
    report = chart(s2, half, say=said.append, **options)
    alone = chart(s2, output="alone.tif", **options)
    left = slice(0, WIDTH // 2 - CELL)  # the pixels between cells of which none has radar
    one, other = (read(found.files["probabilities"]) for found in (report, alone))
    np.testing.assert_array_equal(one[..., left], other[..., left])
    right = slice(WIDTH // 2 + 64, None)
    assert (read(report.output)[0] == truth())[:, right].mean() > 0.9
    assert report.valid_share == 1
    assert "sentinel1 is missing in 50.0% of the valid cells" in " ".join(said)
    assert any("50.0%" in note for note in report.facts.notes)


def test_a_pixel_that_no_input_has_is_nodata(chart, here, half, tmp_path):
    values = read(here / "S2A_MSIL1C_s2.tif")
    values[:, 30:70, 20:90] = 0
    with rasterio.open(here / "S2A_MSIL1C_s2.tif") as file:
        path = write_raster(tmp_path / "S2A_MSIL1C_holed.tif", values, file.descriptions, nodata=0)
    report = chart(f"{path}:sentinel2", half)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[30:70, 20:90] = True
    np.testing.assert_array_equal(read(report.output)[0] == 255, hole)


def test_the_order_of_inputs_only_settles_the_pixels(chart, s1, s2):
    options = {"probabilities": True, "dtype": "float32"}
    one, other = chart(s2, s1, **options), chart(s1, s2, output="b.tif", **options)
    np.testing.assert_array_equal(read(one.files["probabilities"]), read(other.files["probabilities"]))


@pytest.mark.parametrize("pixel", [20, 5])
def test_the_map_has_the_first_inputs_pixels(chart, s2, tmp_path, pixel):
    path = radar(tmp_path / "s1.tif", squares(), pixel=pixel)
    report = chart(s2, f"{path}:sentinel1")
    assert read(report.output).shape == (1, HEIGHT, WIDTH)
    assert (read(report.output)[0] == truth()).mean() > 0.8
    turned = chart(f"{path}:sentinel1", s2, output="b.tif")
    with rasterio.open(turned.output) as file:
        assert file.res == (pixel, pixel)


def test_a_second_input_may_lie_on_control_points(chart, here, s2, tmp_path):
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]
    shape = {"count": 2, "height": HEIGHT, "width": WIDTH, "dtype": "float32"}
    with rasterio.open(tmp_path / "swath.tif", "w", driver="GTiff", **shape) as file:
        file.write(read(here / "s1.tif"))
        file.gcps = ([GroundControlPoint(r, c, *(TRANSFORM @ (c, r))) for r, c in corners], CRS.from_string(UTM))
        for number, name in enumerate(("VV", "VH"), 1):
            file.set_band_description(number, name)
    report = chart(s2, f"{tmp_path / 'swath.tif'}:sentinel1")
    assert (read(report.output)[0] == truth()).mean() > 0.9


def test_bands_without_names_are_told_by_input(chart, here, s2, tmp_path):
    values = read(here / "s1.tif")[::-1]
    path = write_raster(tmp_path / "s1.tif", np.concatenate([values, values[:1]]))
    report = chart(s2, f"{path}:sentinel1", bands="sentinel1=VV=2,VH=1")
    assert (read(report.output)[0] == truth()).mean() > 0.9


def test_a_second_input_that_covers_a_part_is_missing_elsewhere(chart, here, s2, tmp_path):
    values = read(here / "s1.tif")[:, 64:128, 96:192]
    place = TRANSFORM @ Affine.translation(96, 64)
    path = write_raster(tmp_path / "part.tif", values, ("VV", "VH"), transform=place)
    report = chart(s2, f"{path}:sentinel1")
    share = 1 - 64 * 96 / (HEIGHT * WIDTH)
    assert any(f"missing in {share:.1%}" in note for note in report.facts.notes)
    assert report.valid_share == 1


def test_an_area_cuts_all_inputs_alike(chart, s1, s2, tmp_path):
    left, top = TRANSFORM @ (40, 50)
    right, bottom = TRANSFORM @ (150, 120)
    area = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[box(left, bottom, right, top)], crs=UTM).to_file(area)
    one, other = chart(s2, s1, aoi=area), chart(s1, s2, aoi=area, output="b.tif")
    np.testing.assert_array_equal(read(one.output), read(other.output))
    with rasterio.open(one.output) as file:
        assert (file.height, file.width) == (80, 128)  # whole cells around the area
        known = file.read(1) != 255
    assert known.sum() == 110 * 70


def test_a_mask_of_the_users_holds_for_all_inputs(chart, s2, tmp_path):
    coarse = radar(tmp_path / "coarse.tif", squares(), pixel=20)
    masked = np.zeros((HEIGHT, WIDTH), np.uint8)
    masked[30:71, 20:95] = 1
    mask = write_raster(tmp_path / "mask.tif", masked[None])
    report = chart(s2, f"{coarse}:sentinel1", mask=mask)
    np.testing.assert_array_equal(read(report.output)[0] == 255, masked == 1)
    assert report.facts.masked_share == pytest.approx(masked.mean(), abs=0.01)


def test_a_dry_run_tells_what_it_would_take(chart, s1, s2, tmp_path):
    report = chart(s2, s1, dry_run=True)
    assert not report.written
    assert report.facts.windows == 2 * chart(s2, dry_run=True).facts.windows
    assert report.facts.memory_bytes > chart(s2, dry_run=True).facts.memory_bytes
    assert not list(tmp_path.iterdir())


def test_shards_and_memory_change_no_bit(chart, s1, s2):
    options = {"probabilities": True, "dtype": "float32", "batch_size": 4}
    whole = chart(s2, s1, shard=16, **options)
    free = chart(s2, dry_run=True).facts.memory_bytes
    others = [chart(s2, s1, output=f"{n}.tif", shard=n, **options) for n in (1, 3)]
    others.append(chart(s2, s1, output="little.tif", memory_limit=free * 2, **options))
    assert [one.facts.shards for one in others] == [20, 4, 1]
    for one in others:
        for name in ("map", "probabilities"):
            np.testing.assert_array_equal(read(one.files[name]), read(whole.files[name]))


def test_another_zoom_is_warned_of(chart, s1, s2):
    said = []
    report = chart(s2, s1, zoom=2, say=said.append)
    assert any(line.startswith("Warning: the head was trained at zoom 1, not 2") for line in said)
    assert any("trained at zoom 1" in warning for warning in report.facts.warnings)
    assert (read(report.output)[0] == truth()).mean() > 0.6


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lower_precision_gives_nearly_the_same_map(chart, s1, s2, precision):
    exact, near = chart(s2, s1), chart(s2, s1, output="b.tif", precision=precision)
    assert (read(exact.output) == read(near.output)).mean() > 0.97


def test_too_little_memory_is_told_with_what_is_needed(chart, s1, s2):
    with pytest.raises(OptionError, match="needs about"):
        chart(s2, s1, memory_limit=10**8)


@pytest.fixture
def verb(here, heads, s1, half):
    def run(_, folder, **more):
        options = {"shard": 1, "probabilities": True, "confidence": "margin"} | more
        scenes = [half, f"{here / 'S2A_MSIL1C_s2.tif'}:sentinel2"]
        return segment(
            scenes, folder / "map.tif", head=heads["concat"], weights=str(here / "tiny.safetensors"), **options
        )

    return run


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_a_killed_run_goes_on_to_the_same_map(verb, here, tmp_path, monkeypatch, shards):
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    expected = steady(verb(here, folders[0]))
    kill(monkeypatch, verb, here, folders[1], shards)
    said = []
    report = verb(here, folders[1], say=said.append)
    assert report.kept_shards == shards
    assert any(line.startswith("Continuing: ") for line in said) == bool(shards)
    assert steady(report) == expected
    assert contents(folders[0]) == contents(folders[1])


def test_inputs_opened_from_a_recipe_give_the_same_map(verb, here, tmp_path):
    folders = [tmp_path / name for name in ("here", "elsewhere")]
    for folder in folders:
        folder.mkdir()
    reports = [verb(here, folders[0]), verb(here, folders[1], executor=Elsewhere())]
    assert steady(reports[0]) == steady(reports[1])
    assert contents(folders[0]) == contents(folders[1])


def test_another_input_is_another_run(verb, here, tmp_path, monkeypatch, half):
    kill(monkeypatch, verb, here, tmp_path, 2)
    path = half.rpartition(":")[0]
    values = read(path)
    write_raster(tmp_path / "half.tif", values + 1, ("VV", "VH"), nodata=np.nan)
    with pytest.raises(RunDiffers, match=r"half\.tif"):
        verb(here, tmp_path)


def test_dates_may_be_left_out_where_the_sensor_is_known_once(learn, chart, here, s1, s2, tmp_path):
    learn(f"{s2}:2024-05", s1)
    head = tmp_path / "head.pt"
    exact, loose = chart(f"{s2}:2024-05", s1, of=head), chart(s2, s1, of=head, output="b.tif")
    np.testing.assert_array_equal(read(exact.output), read(loose.output))
    with pytest.raises(WrongHead, match="sentinel2:2024-05, sentinel1"):
        chart(f"{s2}:2024-08", s1, of=head, output="c.tif")
    with pytest.raises(OptionError, match="are both sentinel2:2024-05"):
        chart(s2, f"{s2}:2024-05", of=head, output="c.tif")


def test_dates_of_a_sensor_are_told_apart(learn, chart, tmp_path):
    dull, bright = optical(tmp_path / "a.tif"), optical(tmp_path / "b.tif", squares(), seed=1)
    first, second = f"{dull}:sentinel2:2024-05", f"{bright}:sentinel2:2024-08"
    learn(first, second)
    head = tmp_path / "head.pt"
    one, other = chart(first, second, of=head), chart(second, first, of=head, output="turned.tif")
    np.testing.assert_array_equal(read(one.output), read(other.output))
    assert (read(one.output)[0] == truth()).mean() > 0.9
    with pytest.raises(WrongHead, match="none of the inputs"):
        chart(f"{dull}:sentinel2", of=head, output="c.tif")


WRONG = {
    "plain files": (["{here}/S2A_MSIL1C_s2.tif", "{here}/s1.tif"], {}, WrongHead, r"s2\.tif:sentinel2 .*s1\.tif:sent"),
    "one plain file": (["{here}/s1.tif"], {}, WrongHead, "Write FILE1:sentinel2 FILE2:sentinel1"),
    "another sensor": (["{s2}", "{here}/s1.tif:landsat8"], {}, WrongHead, "none of the inputs that"),
    "twice": (["{s1}", "{s1}"], {}, OptionError, "are both sentinel1"),
    "apart": (["{s2}", "{here}/afar.tif:sentinel1"], {}, GridError, "does not cover the ground"),
    "one sensor's option": (["{s2}", "{s1}"], {"product": "l2a"}, OptionError, "does not say of which input"),
    "clouds that nobody tells": (["{s2}", "{s1}"], {"mask_clouds": True}, OptionError, "quality layer"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused(chart, here, s1, s2, tmp_path, case):
    radar(here / "afar.tif", squares(), transform=TRANSFORM @ Affine.translation(0, 5 * HEIGHT))
    scenes, options, error, text = case
    with pytest.raises(error, match=text):
        chart(*(one.format(s1=s1, s2=s2, here=here) for one in scenes), **options)
    assert not list(tmp_path.iterdir())


def test_stored_embeddings_do_not_stand_for_several_inputs(chart, here, tmp_path):
    stored = embed(
        here / "S2A_MSIL1C_s2.tif", tmp_path / "e.tif", sensor="sentinel2", weights=str(here / "tiny.safetensors")
    )
    with pytest.raises(WrongHead, match="several inputs of a place: sentinel2, sentinel1"):
        chart(stored.output)


def test_a_head_without_what_stands_in_is_damaged(chart, heads, s1, s2, tmp_path):
    head = load_head(heads["concat"])
    tensors = {name: tensor for name, tensor in head.tensors.items() if name != FILL}
    object.__setattr__(head, "tensors", tensors)
    save_head(tmp_path / "bare.pt", head)
    with pytest.raises(DamagedHead, match="stands in"):
        chart(s2, s1, of=tmp_path / "bare.pt")


def test_a_head_of_one_input_takes_its_own_on_the_first_ones_pixels(learn, chart, here, s1, s2, tmp_path):
    said = []
    learn(s1)
    coarse = f"{radar(tmp_path / 'coarse.tif', squares(), pixel=20)}:sentinel1"
    report = chart(s2, coarse, of=tmp_path / "head.pt", say=said.append)
    assert read(report.output).shape == (1, HEIGHT, WIDTH)
    assert (read(report.output)[0] == truth()).mean() > 0.8
    assert any("takes sentinel1 alone" in line for line in said)
    plain = chart(here / "s1.tif", of=tmp_path / "head.pt", output="plain.tif")
    named = chart(s1, of=tmp_path / "head.pt", output="named.tif")
    np.testing.assert_array_equal(read(plain.output), read(named.output))
    with pytest.raises(WrongHead, match="takes a single sentinel1 scene; none"):
        chart(s2, of=tmp_path / "head.pt", output="c.tif")
