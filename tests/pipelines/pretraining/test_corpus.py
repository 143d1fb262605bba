"""Files to sources: what is read, what is left out, and that shortcuts change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from dofa_cli.errors import BandMismatch, SceneError, SceneNotFound
from dofa_cli.pipelines.pretraining.corpus import CPU, Opened, excluded_contents, open_source, write_list
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.source import close_handles
from dofa_cli.training.config import Data, SourceConfig
from dofa_cli.training.data import CropRules, draw_batch, random_numbers
from tests.made import TRAINED, reflectance, sentinel2_scene, write_raster

RULES = CropRules(size=32, patch=8)
PLENTY = 10**9


@pytest.fixture(autouse=True)
def closed():
    yield
    close_handles()


def opened(path, *, data=None, room=PLENTY, **fields) -> Opened:
    wanted = SourceConfig(path=str(path), name="it", **({"sensor": "sentinel2"} | fields))
    return open_source(wanted, data or Data(held_out=0), RULES, "dofa_v1", room)


def standardised(image) -> torch.Tensor:
    return image.standardise(image.read(Window(0, 0, image.height, image.width)))


class TestScenes:
    def test_are_standardised_as_embed_does(self, tmp_path):
        paths = [sentinel2_scene(tmp_path / f"{n}.tif", 40, 50 + n) for n in range(12)]
        found = opened(tmp_path / "*.tif").source
        assert found.bands == TRAINED
        for path, image in zip(sorted(map(str, paths)), found.images, strict=True):
            options = SceneOptions(sensor="sentinel2")
            prepared = prepare_scene(describe((path,), options), options, "dofa_v1")
            scene = prepared.scene
            pixels = read_window(scene, Window(0, 0, scene.height, scene.width))
            assert image.name == path
            assert torch.equal(standardised(image), Standardiser(prepared.norms, CPU)(pixels))

    def test_keep_nodata_out(self, tmp_path):
        for number in range(10):
            values = reflectance(9, 40, 40, number)
            values[:, :4] = 0
            write_raster(tmp_path / f"{number}.tif", values, TRAINED, nodata=0)
        for image in opened(tmp_path / "*.tif").source.images:
            assert not image.read(Window(0, 0, 40, 40)).valid[:4].any()
            assert image.read(Window(0, 0, 40, 40)).valid[4:].all()

    def test_read_from_disk_hold_the_same_values(self, tmp_path):
        for number in range(10):
            sentinel2_scene(tmp_path / f"{number}.tif", 40, 40)
        inside, outside = opened(tmp_path / "*.tif"), opened(tmp_path / "*.tif", room=0)
        assert inside.nbytes == 10 * 40 * 40 * (1 + 9 * 2)
        assert outside.nbytes == 0
        for one, other in zip(inside.source.images, outside.source.images, strict=True):
            assert (one.in_memory, other.in_memory) == (True, False)
            assert torch.equal(standardised(one), standardised(other))
        batch = draw_batch(outside.source, outside.source.images, 4, RULES, random_numbers(0))
        assert batch.pixels.shape == (4, 9, 32, 32)

    def test_share_the_room_in_order(self, tmp_path):
        for number in range(3):
            sentinel2_scene(tmp_path / f"{number}.tif", 40, 40)
        one = opened(tmp_path / "0.tif").nbytes
        assert [image.in_memory for image in opened(tmp_path / "*.tif", room=2 * one).source.images] == [
            True,
            True,
            False,
        ]

    def test_of_a_folder_are_one_scene(self, tmp_path):
        for place in ("a", "b"):
            (tmp_path / place).mkdir()
            for name, number in (("VV", 0), ("VH", 1)):
                decibels = np.random.default_rng(number).normal(-12 - 6 * number, 2, (1, 40, 40)).astype(np.float32)
                write_raster(tmp_path / place / f"S1A_IW_GRDH_x_{name}.tif", decibels)
            (tmp_path / place / "notes.txt").write_text("no raster")
        found = opened(tmp_path / "*", sensor="sentinel1")
        assert found.source.bands == ("VV", "VH")
        assert len(found.source.images) == 2

    def test_without_coordinates_are_chips(self, tmp_path):
        rng = np.random.default_rng(0)
        for number in range(10):
            chip = rng.integers(60, 140, (40, 40, 3), dtype=np.uint8)
            Picture.fromarray(chip).save(tmp_path / f"{number}.{'png' if number % 2 else 'jpg'}")
        found = opened(tmp_path / "*", bands="rgb").source
        assert (len(found.images), found.wavelengths_um) == (10, (0.665, 0.56, 0.49))

    def test_whose_rule_needs_their_statistics_share_those(self, tmp_path):
        for number, level in enumerate((10.0, 30.0)):
            values = np.random.default_rng(number).normal(level, 2, (2, 40, 40)).astype(np.float32)
            write_raster(tmp_path / f"{number}.tif", values)
        dark, bright = opened(tmp_path / "*.tif", sensor=None, wavelengths="0.6,0.8").source.images
        assert float(standardised(dark).mean()) == pytest.approx(-1, abs=0.05)
        assert float(standardised(bright).mean()) == pytest.approx(1, abs=0.05)


class TestLeftOut:
    def test_scenes_are_counted_by_reason(self, tmp_path):
        rng = np.random.default_rng(0)
        for number in range(3):
            write_raster(tmp_path / f"{number}.tif", rng.normal(500, 90, (9, 40, 40)).astype(np.float32), TRAINED)
        write_raster(tmp_path / "small.tif", rng.normal(500, 90, (9, 20, 40)).astype(np.float32), TRAINED)
        write_raster(tmp_path / "nothing.tif", np.full((9, 40, 40), np.nan, np.float32), TRAINED)
        (tmp_path / "notes.tif").write_text("no raster")
        found = opened(tmp_path / "*.tif", product="l1c")
        assert len(found.source.images) == 3
        assert found.line.endswith("left out: 1 unreadable, 1 without valid pixels, 1 too small")

    def test_damaged_files_are_named_so(self, tmp_path):
        for number in range(10):
            sentinel2_scene(tmp_path / f"{number}.tif", 60, 60, compress="deflate")
        whole = (tmp_path / "5.tif").read_bytes()
        (tmp_path / "5.tif").write_bytes(whole[: len(whole) // 2])
        found = opened(tmp_path / "*.tif")
        assert len(found.source.images) == 9
        assert {file.use for file in found.listed if file.path.endswith("5.tif")} <= {"damaged", "unreadable"}

    def test_excluded_contents_are_known_under_any_name(self, tmp_path):
        for number in range(3):
            write_raster(tmp_path / f"{number}.tif", reflectance(9, 40, 40, number), TRAINED)
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "other_name.tif").write_bytes((tmp_path / "1.tif").read_bytes())
        excluded = Data(held_out=0, exclude=(str(tmp_path / "tests" / "*.tif"),))
        found = opened(tmp_path / "*.tif", data=excluded)
        assert [image.name[-5:] for image in found.source.images] == ["0.tif", "2.tif"]
        assert [file.use for file in found.listed if file.path.endswith("1.tif")] == ["excluded"]

    def test_excluding_nothing_is_an_error(self, tmp_path):
        with pytest.raises(SceneNotFound, match=r"exclude in \[data\]"):
            excluded_contents((str(tmp_path / "*.tif"),))

    def test_zoom_makes_small_scenes_large_enough(self, tmp_path):
        sentinel2_scene(tmp_path / "0.tif", 20, 20)
        with pytest.raises(SceneError, match=r"none of the 1 scenes.*1 too small.*zoom = 2"):
            opened(tmp_path / "0.tif")
        assert len(opened(tmp_path / "0.tif", zoom=2).source.images) == 1


class TestErrors:
    def test_a_pattern_without_files_is_named(self, tmp_path):
        with pytest.raises(SceneNotFound, match=r"No file matches '.*\*\.tif' \(source 'it'\)"):
            opened(tmp_path / "*.tif")

    def test_scenes_with_other_bands_are_named(self, tmp_path):
        sentinel2_scene(tmp_path / "a.tif", 40, 40)
        write_raster(tmp_path / "b.tif", reflectance(3, 40, 40), ("B04", "B03", "B02"))
        with pytest.raises(BandMismatch, match=r"a\.tif has bands B04, .*b\.tif has B04, B03, B02\. Name the bands"):
            opened(tmp_path / "*.tif")
        assert opened(tmp_path / "*.tif", bands="rgb").source.bands == ("B04", "B03", "B02")

    def test_what_is_wrong_with_a_scene_comes_with_its_name(self, tmp_path):
        write_raster(tmp_path / "odd.tif", reflectance(5, 40, 40))
        with pytest.raises(BandMismatch, match=r"odd\.tif: The file has 5 bands"):
            opened(tmp_path / "*.tif")

    def test_a_folder_of_scenes_is_told_from_a_scene(self, tmp_path):
        for number in range(2):
            sentinel2_scene(tmp_path / f"{number}.tif", 40, 40)
        with pytest.raises(SceneError, match=r"taken as one scene \('.*/\*' gives a scene a file\): "):
            opened(tmp_path)


class TestHeldOut:
    def test_images_are_evenly_spread_and_not_trained_on(self, tmp_path):
        for number in range(20):
            sentinel2_scene(tmp_path / f"{number:02}.tif", 40, 40)
        found = opened(tmp_path / "*.tif", data=Data(held_out=0.1))
        held = [image.name[-6:-4] for image in found.source.held_out]
        assert held == ["06", "13"]
        assert not set(held) & {image.name[-6:-4] for image in found.source.images}
        assert "18 images and 2 held out" in found.line

    def test_few_images_are_all_trained_on(self, tmp_path):
        sentinel2_scene(tmp_path / "0.tif", 40, 40)
        assert opened(tmp_path / "*.tif", data=Data(held_out=0.5)).source.held_out == ()


def test_the_list_names_every_file_with_its_checksum(tmp_path):
    for number in range(2):
        sentinel2_scene(tmp_path / f"{number}.tif", 40, 40)
    write_list(tmp_path / "images.csv", opened(tmp_path / "*.tif").listed)
    head, *lines = (tmp_path / "images.csv").read_text().splitlines()
    assert head == "source,path,sha256,use"
    assert [line.split(",")[3] for line in lines] == ["trained on"] * 2
    assert all(len(line.split(",")[2]) == 64 for line in lines)
