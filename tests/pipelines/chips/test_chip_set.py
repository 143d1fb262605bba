"""Images to tensors of one size: one rule for all, what is invalid left out, what is damaged named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import BandMismatch, SceneError
from dofa_cli.pipelines.chips.chip_set import Batch, chip_vectors, open_chips, resampled
from dofa_cli.pipelines.inference.encoder import Encoder, open_weights
from dofa_cli.pipelines.scenes.prepare import Learnt, Normalize, SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.source import close_handles
from tests.made import TRAINED, reflectance, sentinel2_scene, tiny_weights, write_raster

SENTINEL2 = SceneOptions(sensor="sentinel2")


@pytest.fixture(autouse=True)
def closed():
    yield
    close_handles()


def chips_of(paths, side=64, options=SENTINEL2, **more):
    return open_chips([str(path) for path in paths], options, "dofa_v1", side=side, **more)


def written(folder, count, height=64, width=64):
    return [
        write_raster(folder / f"{n}.tif", reflectance(9, height, width, n), TRAINED, nodata=0) for n in range(count)
    ]


class TestRule:
    def test_of_chips_is_that_of_a_scene(self, tmp_path):
        paths = written(tmp_path, 30)
        chips = chips_of(paths)
        for index in (0, 17, 29):
            prepared = prepare_scene(describe([str(paths[index])], SENTINEL2), SENTINEL2, "dofa_v1")
            pixels = read_window(prepared.scene, Window(0, 0, 64, 64))
            expected = Standardiser(prepared.norms, torch.device("cpu"))(pixels)
            assert torch.equal(chips.batch([index])[0], expected)
        assert chips.product == "l1c"
        assert chips.wavelengths_um == prepared.wavelengths_um

    def test_is_one_for_all_folders_and_values(self, tmp_path):
        dark, bright = tmp_path / "dark", tmp_path / "bright"
        dark.mkdir(), bright.mkdir()
        paths = [write_raster(dark / f"{n}.tif", reflectance(9, 64, 64, n) // 4, TRAINED) for n in range(3)]
        paths += [write_raster(bright / f"{n}.tif", reflectance(9, 64, 64, n), TRAINED) for n in range(5)]
        chips = chips_of(paths)
        assert chips.product == "l1c"
        assert chips.batch(range(3)).mean() < chips.batch(range(3, 8)).mean()

    def test_of_the_images_themselves_pools_them(self, tmp_path):
        paths = written(tmp_path, 6)
        chips = chips_of(paths, options=SceneOptions(sensor="sentinel2", normalize=Normalize.SCENE))
        found = chips.batch(range(6))
        assert found.mean(dim=(0, 2, 3)).abs().max() < 1e-4
        assert found.std(dim=(0, 2, 3)).sub(1).abs().max() < 1e-3

    def test_learnt_before_is_applied_again(self, tmp_path):
        paths = written(tmp_path, 4)
        own = chips_of(paths, options=SceneOptions(sensor="sentinel2", normalize=Normalize.SCENE))
        learnt = Learnt(own.product, own.norms)
        again = chips_of(paths[:1], learnt=learnt)
        assert again.norms == own.norms
        assert torch.equal(again.batch([0]), own.batch([0]))

    def test_other_bands_are_refused_with_both_files(self, tmp_path):
        nine = write_raster(tmp_path / "nine.tif", reflectance(9, 64, 64), TRAINED)
        three = write_raster(tmp_path / "three.tif", reflectance(3, 64, 64), TRAINED[:3])
        with pytest.raises(BandMismatch, match=r"nine\.tif has bands B04.*three\.tif has B04"):
            chips_of([nine, three])

    def test_a_mask_belongs_to_its_own_image(self, tmp_path):
        paths = written(tmp_path, 3)
        unwanted = np.zeros((1, 64, 64), np.uint8)
        unwanted[:, :32] = 1
        mask = write_raster(tmp_path / "mask.tif", unwanted)
        options = SceneOptions(sensor="sentinel2", masks=MaskOptions(file=str(mask)))
        valid = chips_of(paths, options=options).read(range(3)).valid
        assert valid.mean(dim=(1, 2)).tolist() == [0.5, 0.5, 0.5]


class TestPixels:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 45), (100, 65), (300, 260), (1, 1)])
    def test_have_one_size_whatever_the_image(self, tmp_path, height, width):
        path = write_raster(tmp_path / "a.tif", reflectance(9, height, width), TRAINED)
        found = chips_of([path], side=32).read([0])
        assert found.pixels.shape == (1, 9, 32, 32)
        assert found.pixels.isfinite().all()
        assert found.valid.min() > 1 - 1e-5

    def test_of_large_images_are_those_of_whole_reading(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", reflectance(9, 256, 256), TRAINED)
        chips = chips_of([path], side=16)
        whole = chips.standardise(read_window(chips.chips[0].scene(), Window(0, 0, 256, 256)))
        expected = F.avg_pool2d(whole[None], 4)
        expected = F.interpolate(expected, size=(16, 16), mode="bilinear", antialias=True)[0]
        assert not chips.held
        assert (chips.batch([0])[0] - expected).abs().max() < 1e-4

    def test_that_are_nodata_do_not_count(self, tmp_path):
        values = reflectance(9, 128, 128)
        values[:, :, 64:] = 0
        holed = chips_of([write_raster(tmp_path / "a.tif", values, TRAINED, nodata=0)])
        half = chips_of([write_raster(tmp_path / "b.tif", values[:, :, :64], TRAINED, nodata=0)])
        found = holed.read([0])
        assert (found.valid[0, :, 33:] == 0).all()
        assert (found.pixels[0, :, :, 33:] == 0).all()
        assert found.pixels[0, :, :, :30].isfinite().all()
        assert abs(float(found.pixels[0, :, :, :31].mean() - half.batch([0]).mean())) < 0.02

    def test_without_valid_cells_weigh_alike(self):
        valid = torch.zeros(2, 32, 32)
        valid[1, :16] = 1
        weights = Batch(torch.zeros(2, 1, 32, 32), valid).cell_weights(16)
        assert weights.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]

    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
    def test_of_one_value_keep_it(self, height, width, side):
        x, share = resampled(torch.full((2, height, width), 3.0), torch.ones(height, width), side)
        assert torch.allclose(x, torch.full((2, side, side), 3.0), atol=1e-5)
        assert torch.allclose(share, torch.ones(side, side), atol=1e-5)


class TestDamage:
    def test_is_named_and_left_out(self, tmp_path):
        paths = written(tmp_path, 3)
        truncated = tmp_path / "truncated.tif"
        truncated.write_bytes(paths[0].read_bytes()[:4000])
        empty = write_raster(tmp_path / "empty.tif", np.zeros((9, 64, 64), np.uint16), TRAINED, nodata=0)
        text = tmp_path / "text.tif"
        text.write_text("no image")
        chips = chips_of([paths[0], truncated, empty, text, paths[1]])
        assert chips.kept == (0, 4)
        assert set(chips.left_out) == {str(truncated), str(empty), str(text)}
        assert chips.left_out[str(empty)] == "without valid pixels"
        assert "3 of 5 images left out" in chips.notes[-1]

    def test_of_all_is_an_error(self, tmp_path):
        text = tmp_path / "text.tif"
        text.write_text("no image")
        with pytest.raises(SceneError, match=r"None of the 1 images can be used.*text\.tif"):
            chips_of([text])


class TestVectors:
    def test_do_not_depend_on_the_batch(self, tmp_path):
        weights = open_weights(str(tiny_weights(tmp_path / "tiny.safetensors")))
        chips = chips_of(written(tmp_path, 5))
        encoder = Encoder(weights, chips.wavelengths_um)
        found = chip_vectors(chips, encoder, batch=2)
        assert found.shape == (5, 24)
        assert found.dtype == np.float32
        assert np.allclose(found, chip_vectors(chips, encoder, batch=5), atol=1e-5)
        assert np.array_equal(found[[3, 1]], chip_vectors(chips.only([3, 1]), encoder, batch=2))

    def test_of_a_scene_are_those_of_embed(self, tmp_path):
        from dofa_cli.pipelines.embed import embed

        weights = tiny_weights(tmp_path / "tiny.safetensors")
        scene = sentinel2_scene(tmp_path / "scene.tif", 64, 64)
        embed(scene, tmp_path / "out.parquet", weights=str(weights), sensor="sentinel2", level="window")
        import pyarrow.parquet as pq

        expected = np.array(pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist())
        chips = chips_of([scene])
        found = chip_vectors(chips, Encoder(open_weights(str(weights)), chips.wavelengths_um), batch=1)
        assert np.allclose(found, expected, atol=1e-5)
