"""What a head brings to a scene: sensor, bands, rules and windows; and what is said where a scene is not alike."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import rasterio
import torch

from dofa_cli.classes import ClassTable
from dofa_cli.errors import BandMismatch
from dofa_cli.heads.build import DECODER, dense_head
from dofa_cli.heads.encoders import trainable_copy
from dofa_cli.heads.head import Method
from dofa_cli.heads.lora import adapters
from dofa_cli.heads.settings import Training
from dofa_cli.heads.upernet import new_decoder
from dofa_cli.pipelines.inference.encoder import open_weights
from dofa_cli.pipelines.inference.interpolate import interpolate
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.shards import MapParts
from dofa_cli.pipelines.mapping.apply_head import grid_options, learnt_rules, open_head
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster.grid import CellGrid, Window
from dofa_cli.raster.parts import Part
from dofa_cli.raster.scene import Pixels
from dofa_cli.raster.writer import save_part
from dofa_cli.sensors.normalise import BandNorm, applied_again
from dofa_cli.sensors.scale import AS_IS, DISPLAY, DIVIDED, PixelScale
from tests.made import TINY, TRAINED, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import CLASSES, linear_head, recipe_for, saved


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "S2A_MSIL1C_scene.tif", 64, 64)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def mapped(weights, tmp_path, heard):
    def run(source, head, name="map.tif", **options):
        file = saved(head, tmp_path / "crops.pt")
        return segment(source, tmp_path / name, head=file, weights=str(weights), say=heard.append, **options)

    return run


def read(report):
    with rasterio.open(report.output) as file:
        return file.read(1)


# The head's own scene


def test_sensor_bands_and_windows_are_the_heads(mapped, weights, scene, heard):
    head = linear_head(recipe_for(scene, window=48, overlap=16, zoom=2, token_norm="none"), weights)
    report = mapped(scene, head)
    tags = report.facts.tags
    assert (tags["sensor"], tags["bands"]) == ("sentinel2", ",".join(TRAINED))
    assert (tags["window_px"], tags["overlap_px"], tags["zoom"], tags["token_norm"]) == ("48", "16", "2", "none")
    assert heard == []


def test_what_is_given_goes_before_the_head(weights, scene):
    recipe = recipe_for(scene, zoom=2)
    found = grid_options(recipe, GridOptions(window=32, overlap=0), None)
    assert (found.window, found.overlap, found.zoom) == (32, 0, 2)
    found = grid_options(recipe, GridOptions(), 1)
    assert (found.window, found.overlap, found.zoom) == (64, 16, 1)


def test_another_zoom_is_warned_of(mapped, weights, scene, heard):
    report = mapped(scene, linear_head(recipe_for(scene), weights), zoom=2)
    assert heard == ["Warning: the head was trained at zoom 1, not 2; expect less of it."]
    assert report.facts.tags["zoom"] == "2"


def test_rules_of_the_training_are_applied_again(mapped, weights, scene):
    recipe = recipe_for(scene)
    moved = tuple({**plain, "mean": 50.0 + at, "std": 20.0} for at, plain in enumerate(recipe.normalization))
    head = linear_head(replace(recipe, normalization=moved), weights)
    report = mapped(scene, head)
    assert [rule["mean"] for rule in report.facts.rules] == [50.0 + at for at in range(9)]
    assert (read(report) != read(mapped(scene, linear_head(recipe, weights), "usual.tif"))).any()


def test_statistics_of_the_training_scene_are_kept_on_others(mapped, weights, scene, tmp_path):
    recipe = recipe_for(scene)
    own = tuple(
        BandNorm(name, wave, AS_IS, 1300.0, 500.0, "estimated from the scene").to_plain()
        for name, wave in zip(recipe.bands, recipe.wavelengths_um, strict=True)
    )
    brighter = write_raster(tmp_path / "S2A_MSIL1C_b.tif", 2 * reflectance(9, 64, 64), TRAINED)
    report = mapped(brighter, linear_head(replace(recipe, normalization=own), weights))
    assert {rule["mean"] for rule in report.facts.rules} == {1300.0}
    assert report.facts.standardised[0]["mean"] > 1


# Scenes that are not alike


def test_another_product_keeps_its_own_rules_and_is_warned_of(mapped, weights, scene, tmp_path, heard):
    other = write_raster(tmp_path / "S2A_MSIL2A_20200101T100000_N0209_x.tif", reflectance(9, 64, 64), TRAINED)
    report = mapped(other, linear_head(recipe_for(scene), weights))
    assert report.facts.product.startswith("l2a")
    assert any("trained on product l1c, not l2a" in line for line in heard)
    assert any("trained on product" in line for line in report.facts.warnings)


def test_values_that_fit_several_products_are_taken_as_the_heads(mapped, weights, scene, tmp_path):
    unnamed = write_raster(tmp_path / "mosaic.tif", reflectance(9, 64, 64), TRAINED)
    for product in ("l1c", "l2a"):
        head = linear_head(replace(recipe_for(scene), product=product), weights)
        assert mapped(unnamed, head, overwrite=True).facts.product.startswith(f"{product} ")


def test_another_sensor_is_used_when_asked_for_with_a_warning(mapped, weights, scene, tmp_path, heard):
    bands = ("B4", "B3", "B2", "B5", "B6", "B7")
    source = write_raster(tmp_path / "LC08_L1TP_x.tif", reflectance(6, 64, 64), bands)
    report = mapped(source, linear_head(recipe_for(scene), weights), sensor="landsat8", scale=1e-4)
    assert report.facts.sensor == "landsat8"
    assert any("was trained on sentinel2; on landsat8" in line for line in heard)


def test_bands_without_names_are_taken_in_the_heads_order_aloud(mapped, weights, scene, tmp_path, heard):
    unnamed = write_raster(tmp_path / "S2A_MSIL1C_u.tif", reflectance(9, 64, 64))
    named = mapped(scene, linear_head(recipe_for(scene), weights))
    report = mapped(unnamed, linear_head(recipe_for(scene), weights), "other.tif")
    assert any("does not name its bands; they are taken as B04,B03,B02" in line for line in heard)
    np.testing.assert_array_equal(read(report), read(named))


def test_a_scene_without_a_band_of_the_head_is_refused(mapped, weights, scene, tmp_path):
    few = write_raster(tmp_path / "S2A_MSIL1C_few.tif", reflectance(8, 64, 64), TRAINED[:8])
    with pytest.raises(BandMismatch, match="B12"):
        mapped(few, linear_head(recipe_for(scene), weights))
    heard = mapped(few, linear_head(recipe_for(scene), weights), bands=",".join(TRAINED[:8]))
    assert "trained on bands" in heard.facts.warnings[-1]


# Rules as plain values


@pytest.mark.parametrize("scale", [AS_IS, DISPLAY, DIVIDED, PixelScale(gain=0.25, offset=-3.5, inner=2.0, high=9.0)])
@pytest.mark.parametrize("mean", [None, 0.1])
def test_rules_survive_as_plain_values(scale, mean):
    norm = BandNorm("B04", 0.665, scale, mean, mean, "published")
    plain = norm.to_plain()
    assert BandNorm.from_plain(plain) == norm
    assert {type(value) for value in plain["scale"].values()} <= {str, float, int, bool, type(None)}


def test_a_declared_scale_goes_before_the_one_learnt_but_not_its_statistics():
    learnt = BandNorm("B04", 0.665, DIVIDED, 10.0, 2.0, "published")
    own = BandNorm("B04", 0.665, DIVIDED.after(1e-4, 0), 11.0, 3.0, "published")
    (found,) = applied_again([learnt], [own], scale_declared=True)
    assert found == replace(own, mean=10.0, std=2.0)
    assert applied_again([learnt], [own], scale_declared=False) == (learnt,)
    assert applied_again([learnt], [replace(own, band="B05")], scale_declared=False)[0].mean == 11.0


def test_a_head_file_gives_its_rules_back(weights, scene, tmp_path):
    recipe = recipe_for(scene)
    file = open_head(saved(linear_head(recipe, weights), tmp_path / "crops.pt"))
    assert learnt_rules(file.head).norms == tuple(BandNorm.from_plain(plain) for plain in recipe.normalization)
    assert asdict(file.head.recipe)["window"] == 64


# Heads of windows


def dense(weights, scene, method, seed=0):
    """A random head of windows; lora's adapters change the encoder."""
    torch.manual_seed(seed)
    training = Training.of(method, {})
    recipe = recipe_for(scene, overlap=0)
    decoder = new_decoder(TINY, len(CLASSES), training.plain(), bands=len(recipe.bands))
    tensors = {f"{DECODER}{name}": tensor for name, tensor in decoder.state_dict().items()}
    if method is Method.LORA:
        model = trainable_copy(open_weights(str(weights)).checkpoint.model, method, training)
        tensors |= {name: tensor + 0.3 for name, tensor in adapters(model).items()}
    plain = linear_head(recipe, weights, ClassTable.of(CLASSES.values))
    return replace(plain, method=method, tensors=tensors, settings=training.plain())


@pytest.mark.parametrize("method", [Method.UPERNET, Method.LORA])
def test_a_head_of_windows_is_applied_in_full_detail(mapped, weights, scene, tmp_path, method):
    head = dense(weights, scene, method)
    found = read(mapped(scene, head))
    with rasterio.open(scene) as file:
        block = Pixels(file.read(), np.ones((64, 64), bool))
    pixels = Standardiser(learnt_rules(head).norms, torch.device("cpu"))(block)
    built = dense_head(head, open_weights(str(weights)).checkpoint.model)
    with torch.inference_mode():
        logits = built.logits(built.dofa.fold(head.recipe.wavelengths_um).eval(), pixels[None])[0].numpy()
    part = Part(tmp_path / "0.npy", Window(0, 0, *logits.shape[:2]))
    save_part(part.path, logits)
    expected = interpolate(MapParts(CellGrid(64, 64, 16), built.detail, (part,), ()), Window(0, 0, 64, 64)).values
    assert logits.shape[:2] == (4 * built.detail, 4 * built.detail)
    ordered = np.sort(expected, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-3
    np.testing.assert_array_equal(found[clear], np.array(CLASSES.values)[expected.argmax(axis=0)][clear])
    assert clear.mean() > 0.9


def test_adapters_change_the_map(mapped, weights, scene):
    with_adapters = dense(weights, scene, Method.LORA)
    without = {name: tensor for name, tensor in with_adapters.tensors.items() if name.startswith(DECODER)}
    one = mapped(scene, with_adapters, probabilities=True)
    two = mapped(scene, replace(with_adapters, method=Method.UPERNET, tensors=without), "b.tif", probabilities=True)
    with rasterio.open(one.files["probabilities"]) as first, rasterio.open(two.files["probabilities"]) as second:
        assert (first.read() != second.read()).any()
