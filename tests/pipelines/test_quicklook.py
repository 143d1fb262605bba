"""Pictures against independent answers: SVD, slices of the file, lengths on the ground, pixels of the PNG."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from matplotlib.image import imread
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from rasterio.enums import Resampling

from dofa_cli.errors import DamagedRaster, NotARaster, OptionError, OutputExists, OutputUnwritable, SceneNotFound
from dofa_cli.pipelines.drawing.components import fit_components
from dofa_cli.pipelines.drawing.paint import gather
from dofa_cli.pipelines.drawing.picture import LARGEST_CELL, UNPAINTED, draw, image_size, scale_bar
from dofa_cli.pipelines.quicklook import compose, quicklook
from dofa_cli.raster import thumbnail as thumbnails
from dofa_cli.raster.header import read_header
from dofa_cli.raster.thumbnail import thumbnail
from tests.made import TRAINED, reflectance, write_raster

EMBEDDING = {"dofa_version": "0.1.0", "level": "patch", "weights": "dofa-base", "sensor": "sentinel2"}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def embedding(path, values, **profile):
    """Write (bands, height, width) with the tags of an embedding."""
    write_raster(path, values, **profile)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**EMBEDDING)
    return path


def waves(height, width, bands=8, seed=0):
    """Three smooth patterns mixed into bands (bands, height, width), float32, with a little noise."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    patterns = np.stack([3 * np.sin(cols / 5), 2 * np.cos(rows / 4), np.sin((rows + cols) / 6)])
    noise = rng.normal(0, 0.05, (bands, height, width))
    return (np.einsum("bk,khw->bhw", rng.normal(size=(bands, 3)), patterns) + noise).astype(np.float32)


def picture_of(path):
    return compose(read_header(str(path)))


# Principal components


def test_components_are_those_of_a_singular_value_decomposition():
    pixels = waves(30, 40, seed=3).reshape(8, -1).astype(float) + 1e4
    found = fit_components(np.array_split(pixels, 7, axis=1), 3)
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    assert found.explained == pytest.approx(sizes[:3] ** 2 / (sizes**2).sum())
    np.testing.assert_allclose(np.abs(np.sum(found.axes.T * left[:, :3], axis=0)), 1, atol=1e-9)
    np.testing.assert_allclose(np.abs(found.project(pixels)), np.abs(left[:, :3].T @ centred), atol=0.02)


def test_signs_do_not_depend_on_how_the_pixels_come():
    pixels = waves(20, 20).reshape(8, -1)
    first = fit_components([pixels], 3)
    second = fit_components([pixels[:, :0], pixels[:, 250:], pixels[:, :250]], 3)
    np.testing.assert_allclose(first.axes, second.axes, atol=1e-9)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in first.axes)


def test_nothing_to_fit_is_no_components():
    assert fit_components([np.zeros((4, 0))], 3) is None


def test_red_grows_with_the_known_component(tmp_path):
    ramp = np.linspace(-1, 1, 60, dtype=np.float32)[None, None].repeat(5, axis=1)
    values = np.array([0.1, 0.9, -0.3, 0.2, 0.1, 0.2], np.float32)[:, None, None] * ramp + 7
    red = picture_of(embedding(tmp_path / "e.tif", values)).pixels[0, :, 0].astype(int)
    assert (red[0], red[-1]) == (0, 255)
    assert all(later > before for before, later in pairwise(red[2:-2]))


def test_what_explains_nothing_is_plain(tmp_path):
    picture = picture_of(embedding(tmp_path / "e.tif", np.ones((6, 9, 9), np.float32)))
    assert np.unique(picture.pixels[..., :3]) == pytest.approx(128)
    assert [entry.text for entry in picture.legend] == ["PC1 0.0%", "PC2 0.0%", "PC3 0.0%"]


def test_eight_bit_codes_are_decoded(tmp_path):
    """Bands differ in scale by a factor of 50, so that undecoded codes would give other components."""
    values = waves(30, 30) * np.linspace(1, 50, 8, dtype=np.float32)[:, None, None]
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    scale, offset = (high - low) / 250, (low + high) / 2
    codes = np.rint((values - offset[:, None, None]) / scale[:, None, None]).astype(np.int8)
    codes[:, 0, 0] = -128
    whole = picture_of(embedding(tmp_path / "whole.tif", values))
    path = embedding(tmp_path / "codes.tif", codes, nodata=-128)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scale.tolist(), offset.tolist()
    coded = picture_of(path)
    assert coded.pixels[0, 0, 3] == 0
    difference = coded.pixels[1:].astype(int) - whole.pixels[1:]
    assert np.abs(difference).mean() < 2


# Reading


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("tiles", [600, 5_000, 10**8])
def test_thumbnails_are_slices_of_the_file_however_it_is_read(tmp_path, monkeypatch, step, tiles):
    monkeypatch.setattr(thumbnails, "TILE_BYTES", tiles)
    values = reflectance(3, 70, 101)
    path = write_raster(tmp_path / "x.tif", values, tiled=True, blockxsize=16, blockysize=16, nodata=1000)
    header = read_header(str(path))
    shown = thumbnail(header, header.bands, -(-101 // step))
    found, valid = gather(shown)
    assert shown.step == step
    np.testing.assert_array_equal(found, values[:, ::step, ::step])
    np.testing.assert_array_equal(valid, (values[:, ::step, ::step] != 1000).all(axis=0))


def test_tiles_stay_within_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "TILE_BYTES", 64 * 2**10)
    path = write_raster(tmp_path / "x.tif", waves(90, 90, 40), tiled=True, blockxsize=16, blockysize=16)
    header = read_header(str(path))
    pieces = list(thumbnail(header, header.bands, 90).pieces())
    assert max(piece.values.nbytes for piece in pieces) <= 64 * 2**10
    assert sum(piece.valid.size for piece in pieces) == 8100


def test_a_fitting_overview_is_read_instead_of_the_file(tmp_path):
    path = write_raster(tmp_path / "x.tif", reflectance(1, 400, 400))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
    header = read_header(str(path))
    shown = [thumbnail(header, header.bands, longest) for longest in (400, 200, 150, 60)]
    assert [(one.level, one.step, one.height) for one in shown] == [
        (None, 1, 400),
        (0, 1, 200),
        (0, 2, 100),
        (1, 2, 50),
    ]


def test_a_file_cut_off_is_called_damaged(tmp_path):
    path = write_raster(tmp_path / "x.tif", reflectance(3, 300, 300))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(DamagedRaster, match=r"x\.tif"):
        quicklook(path, tmp_path / "x.png")


# What is painted


def test_cells_without_data_stay_unpainted(tmp_path):
    values = waves(10, 12)
    values[3, 2, 5] = np.nan
    path = quicklook(embedding(tmp_path / "e.tif", values, nodata=np.nan), tmp_path / "e.png")
    picture = picture_of(tmp_path / "e.tif")
    assert (picture.pixels[..., 3] == 0).sum() == 1
    image = np.rint(imread(path)[..., :3] * 255).astype(int)
    top, left = image_corner(image, picture)
    cell = image_size(picture)[0][0] // 10
    grey = [int(UNPAINTED[at : at + 2], 16) for at in (1, 3, 5)]
    for row, col in np.ndindex(10, 12):
        square = image[top + row * cell : top + (row + 1) * cell, left + col * cell : left + (col + 1) * cell]
        expected = picture.pixels[row, col, :3] if (row, col) != (2, 5) else grey
        assert (square == expected).all()


def image_corner(image, picture):
    """Find the first row and column of the PNG that show the picture's first cell."""
    rows, cols = np.nonzero((image == picture.pixels[0, 0, :3]).all(axis=-1))
    return rows.min(), cols.min()


def test_a_raster_without_any_data_is_drawn_and_says_so(tmp_path):
    path = embedding(tmp_path / "e.tif", np.full((6, 5, 5), np.nan, np.float32))
    assert [entry.text for entry in picture_of(path).legend] == ["no data 100.0%"]
    assert quicklook(path, tmp_path / "e.png").is_file()


def class_map(path, nodata=255):
    values = np.full((1, 20, 20), 1, np.uint8)
    values[0, 10:], values[0, :5, :5] = 4, 255
    write_raster(path, values, nodata=nodata)
    return path


def test_classes_keep_their_colours_and_names(tmp_path):
    path = class_map(tmp_path / "map.tif")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (10, 20, 200, 255), 4: (0, 130, 0, 255)})
    names = "".join(f"<Category>{name}</Category>" for name in ("", "Water", "", "", "Forest &amp; trees"))
    (tmp_path / "map.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    picture = picture_of(path)
    assert [entry.text for entry in picture.legend] == ["Water 46.7%", "Forest & trees 53.3%", "no data 6.2%"]
    assert picture.legend[0].colour == pytest.approx((10 / 255, 20 / 255, 200 / 255))
    assert [tuple(picture.pixels[row, 15]) for row in (0, 19)] == [(10, 20, 200, 255), (0, 130, 0, 255)]
    assert picture.pixels[0, 0, 3] == 0


def test_an_attribute_table_names_and_colours_classes(tmp_path):
    path = class_map(tmp_path / "map.tif")
    uses = (("Value", 0, 5), ("Class", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8))
    head = "".join(f"<FieldDefn><Name>{n}</Name><Type>{t}</Type><Usage>{u}</Usage></FieldDefn>" for n, t, u in uses)
    row = "<Row index='0'><F>4</F><F>Forest</F><F>0</F><F>130</F><F>0</F></Row>"
    (tmp_path / "map.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">'
        f"{head}{row}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    picture = picture_of(path)
    assert [entry.text.rpartition(" ")[0] for entry in picture.legend] == ["class 1", "Forest", "no data"]
    assert tuple(picture.pixels[19, 15, :3]) == (0, 130, 0)


def test_classes_without_colours_get_different_ones(tmp_path):
    values = np.arange(23, dtype=np.uint8).repeat(40).reshape(1, 23, 40)
    picture = picture_of(write_raster(tmp_path / "map.tif", values))
    assert len({entry.colour for entry in picture.legend}) == 23


def test_a_grey_band_is_not_taken_for_classes(tmp_path):
    values = np.arange(200, dtype=np.uint8).reshape(1, 10, 20)
    assert "stretched" in picture_of(write_raster(tmp_path / "x.tif", values)).heading


def test_natural_colours_are_found_by_name_wavelength_and_sensor(tmp_path):
    values = reflectance(9, 30, 30)
    nanometres = tuple(f"{centre} nm" for centre in (490, 560, 665, 705, 740, 783, 842, 1610, 2190))
    by_sensor = picture_of(write_raster(tmp_path / "a.tif", values, TRAINED))
    by_wavelength = picture_of(write_raster(tmp_path / "b.tif", values[[2, 1, 0, 3, 4, 5, 6, 7, 8]], nanometres))
    by_name = picture_of(write_raster(tmp_path / "c.tif", values[:4], ("Red", "Green", "Blue", "Other")))
    assert {one.heading.partition(",")[0] for one in (by_sensor, by_wavelength, by_name)} == {"Natural colours"}
    np.testing.assert_array_equal(by_sensor.pixels, by_wavelength.pixels)
    np.testing.assert_array_equal(by_sensor.pixels, by_name.pixels)


@pytest.mark.parametrize(("bands", "heading"), [(1, "band 1"), (2, "band 1"), (3, "The first three"), (6, "Principal")])
def test_what_is_unnamed_is_shown_by_its_number_of_bands(tmp_path, bands, heading):
    path = write_raster(tmp_path / "x.tif", waves(20, 20, bands), photometric="minisblack")
    assert picture_of(path).heading.startswith(heading)


def test_north_is_up(tmp_path):
    values = np.arange(200, dtype=np.float32).reshape(1, 10, 20)
    usual = picture_of(write_raster(tmp_path / "a.tif", values))
    turned = write_raster(tmp_path / "b.tif", values[:, ::-1], transform=Affine(10, 0, 300000, 0, 10, 5799920))
    np.testing.assert_array_equal(picture_of(turned).pixels, usual.pixels)


# Scale bar and layout


def drawn_bar(figure):
    """Return length in pixels and label of the scale bar."""
    figure.canvas.draw()
    (bar,) = [artist for artist in figure.axes[0].get_children() if isinstance(artist, AnchoredSizeBar)]
    (rectangle,) = bar.size_bar.get_children()
    return rectangle.get_window_extent().width, bar.txt_label.get_text()


@pytest.mark.parametrize(
    ("metres", "pixels", "length", "label"),
    [(10, 345, 200, "2 km"), (1, 300, 200, "200 m"), (160, 3.2, 3.125, "500 m"), (0.001, 340, 200, "20 cm")],
)
def test_bars_have_round_lengths(metres, pixels, length, label):
    assert scale_bar(metres, pixels) == (pytest.approx(length), label)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32633", Affine(160, 0, 500000, 0, -160, 5800000), 160),
        ("EPSG:4326", Affine(0.002, 0, 12, 0, -0.001, 60), 0.002 * 55802),  # a degree of longitude at 60° north
        ("EPSG:3857", Affine(100, 0, 0, 0, -100, 8399738), 50),
    ],
)
def test_the_bar_is_as_long_as_it_says(tmp_path, crs, transform, metres):
    picture = picture_of(embedding(tmp_path / "e.tif", waves(20, 30), crs=crs, transform=transform))
    length, label = drawn_bar(draw(picture))
    value, unit = label.split()
    (_, width), _ = image_size(picture)
    said = float(value.replace(",", "")) * {"km": 1000, "m": 1}[unit]
    assert said / (metres * 30 / width) == pytest.approx(length, rel=4e-3)


def test_pixels_in_degrees_are_drawn_as_the_ground_is(tmp_path):
    """At 60° north a degree of longitude is half as long as one of latitude."""
    transform = Affine(0.001, 0, 12, 0, -0.001, 60)
    picture = picture_of(embedding(tmp_path / "e.tif", waves(20, 20), crs="EPSG:4326", transform=transform))
    (height, width), _ = image_size(picture)
    assert height / width == pytest.approx(2, rel=0.01)


def test_without_coordinates_the_picture_says_so(tmp_path):
    figure = draw(picture_of(embedding(tmp_path / "e.tif", waves(9, 9), crs=None, transform=Affine.identity())))
    assert "no coordinates" in [text.get_text() for text in figure.texts]
    assert not [artist for artist in figure.axes[0].get_children() if isinstance(artist, AnchoredSizeBar)]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40), (600, 4), (3, 900), (48, 96), (300, 290)])
@pytest.mark.parametrize("name", ["e.tif", "_a_$very^long$_" * 12 + "name.tif"])
def test_nothing_overlaps_or_is_cut(tmp_path, size, name):
    figure = draw(picture_of(embedding(tmp_path / name, waves(*size))))
    figure.canvas.draw()
    (bar,) = [artist for artist in figure.axes[0].get_children() if isinstance(artist, AnchoredSizeBar)]
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    boxes += [figure.axes[0].get_window_extent(), bar.get_window_extent()]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


def overlap(one, other):
    """Whether two boxes have more than a pixel in common each way."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    down = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > 1 and down > 1


def test_cells_are_whole_pixels_and_not_too_large(tmp_path):
    sizes = [image_size(picture_of(embedding(tmp_path / f"{n}.tif", waves(n, n))))[0][0] for n in (2, 10, 96, 700)]
    assert sizes == [450, 10 * LARGEST_CELL, 96 * 12, 700]


# The file


def test_the_picture_is_written_whole_and_never_over_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = embedding(tmp_path / "e.tif", waves(9, 9))
    path = quicklook(source)
    assert path == Path("e_quicklook.png")
    assert imread(path).shape[2] == 4
    with pytest.raises(OutputExists):
        quicklook(source)
    assert quicklook(source, overwrite=True) == path
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["e.tif", "e_quicklook.png"]


def test_what_cannot_be_drawn_is_refused(tmp_path):
    source = embedding(tmp_path / "e.tif", waves(9, 9))
    (tmp_path / "x.txt").write_text("no raster")
    with pytest.raises(OptionError, match=r"\.png"):
        quicklook(source, tmp_path / "e.jpg")
    with pytest.raises(OutputUnwritable):
        quicklook(source, tmp_path / "nowhere" / "e.png")
    with pytest.raises(NotARaster):
        quicklook(tmp_path / "x.txt", tmp_path / "x.png")
    with pytest.raises(SceneNotFound):
        quicklook(tmp_path / "y.tif", tmp_path / "y.png")


def test_title_says_what_made_it(tmp_path):
    picture = picture_of(embedding(tmp_path / "e.tif", waves(9, 9)))
    assert (picture.title, picture.subtitle[0]) == ("e.tif", "dofa-base · sentinel2")
    assert picture.subtitle[1].startswith("9 × 9 cells of 10 m")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared imagery is not here")
@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("naip/rasterframes_va/NAIP_VA.tif", "Natural colours"),
        ("aviris/indian_pines/indian_pines_gt.tif", "Classes"),
        ("neon_hsi/harv_crop/2019_HARV_hsi_crop.tif", "Principal"),
        ("sentinel1/pyrosar/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif", "band 1"),
    ],
)
def test_real_rasters_are_shown_as_what_they_are(tmp_path, path, heading):
    assert picture_of(SHARED / path).heading.startswith(heading)
    assert quicklook(SHARED / path, tmp_path / "x.png").is_file()
