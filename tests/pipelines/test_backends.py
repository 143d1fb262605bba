"""The verbs in lowered precisions and on every backend: near float32, whatever the shards, kills and processes."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.errors import Interrupted, OptionError, RunDiffers
from dofa_cli.heads.build import DECODER
from dofa_cli.heads.head import Method
from dofa_cli.heads.settings import Training
from dofa_cli.heads.upernet import new_decoder
from dofa_cli.model.backends.openvino import has_openvino
from dofa_cli.model.backends.quantised import can_quantise
from dofa_cli.pipelines.classify import classify
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.backends import calibrate
from dofa_cli.pipelines.segment import segment
from tests.made import TINY, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import CLASSES, linear_head, recipe_for, saved
from tests.pipelines.image_heads import image_head

needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
needs_products = pytest.mark.skipif(not can_quantise(), reason="this PyTorch has no 8-bit oneDNN products")
WAYS = [
    pytest.param("float32", "openvino", 1 - 1e-5, marks=needs_openvino),
    pytest.param("bfloat16", "torch", 0.995),
    pytest.param("bfloat16", "openvino", 0.995, marks=needs_openvino),
    pytest.param("int8", "torch", 0.98, marks=needs_products),
    pytest.param("int8", "openvino", 0.98, marks=needs_openvino),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 220, 250)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(weights, scene, tmp_path):
    def run(output="out.tif", **options):
        return embed(scene, tmp_path / output, **{"sensor": "sentinel2", "weights": str(weights)} | options)

    return run


class Elsewhere:
    """Runs some shards as another process would, without what this one keeps, and stops."""

    def __init__(self, count=10**6):
        self.count = count

    def run(self, recipe, _, numbers, store, on_done):
        again = pickle.loads(pickle.dumps(recipe)).open()
        for finished in again.run(list(numbers)[: self.count], store.path):
            store.finish(finished)
            on_done(finished)
        if self.count < len(numbers):
            raise Interrupted("Stopped.")


def read(report):
    with rasterio.open(report.output) as file:
        return file.read()


def cosines(found, wanted):
    one, two = (torch.from_numpy(values).flatten(1).T for values in (found, wanted))
    return torch.cosine_similarity(one, two, dim=-1)


@pytest.mark.parametrize(("precision", "backend", "least"), WAYS)
def test_embeddings_point_where_float32_points_and_say_how_they_were_made(run, precision, backend, least):
    wanted, report = run("exact.tif"), run(precision=precision, backend=backend)
    assert float(cosines(read(report), read(wanted)).min()) > least
    told = json.loads(report.to_json())
    assert (told["precision"], told["backend"]) == (precision, backend)
    with rasterio.open(report.output) as file:
        assert (file.tags()["precision"], file.tags()["backend"]) == (precision, backend)
        assert ("int8_ranges" in file.tags()) == (precision == "int8")
        if precision != "float32":
            assert float(file.tags()["float32_cosine"]) == pytest.approx(told["accuracy"]["cosine"], abs=1e-5)
            assert told["accuracy"]["cosine"] > least


def test_float32_is_what_others_are_measured_by(run):
    report = run()
    assert (report.precision, report.backend, report.accuracy) == ("float32", "torch", None)


@pytest.mark.parametrize(("precision", "backend", "least"), WAYS)
def test_the_shard_changes_no_bit(run, precision, backend, least):
    one, two = (
        run(f"{shard}.tif", shard=shard, precision=precision, backend=backend, batch_size=2) for shard in (1, 8)
    )
    np.testing.assert_array_equal(read(one), read(two))
    assert np.isfinite(read(one)).all()
    assert one.shards > two.shards


@pytest.mark.parametrize(("precision", "backend", "least"), WAYS[1:])
def test_other_processes_compute_the_same_without_what_this_one_keeps(
    run, tmp_path, monkeypatch, precision, backend, least
):
    options = {"shard": 2, "precision": precision, "backend": backend}
    whole = run("whole.tif", **options)

    class Bare(Elsewhere):
        def run(self, *work):
            monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "another machine"))
            super().run(*work)

    np.testing.assert_array_equal(read(run("other.tif", executor=Bare(), **options)), read(whole))
    assert whole.accuracy["cosine"] > least


@needs_products
def test_a_stopped_run_goes_on_with_the_same_ranges(run, monkeypatch):
    options = {"shard": 2, "precision": "int8", "backend": "torch"}
    whole = run("whole.tif", **options)
    with pytest.raises(Interrupted):
        run(executor=Elsewhere(1), **options)
    monkeypatch.setattr(calibrate, "measure_ranges", lambda *_: pytest.fail("learnt again"))
    resumed = run(**options)
    assert resumed.kept_shards == 1
    np.testing.assert_array_equal(read(resumed), read(whole))
    assert resumed.accuracy == whole.accuracy


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"precision": "float32"}, "precision"),
        pytest.param({"backend": "openvino"}, "backend", marks=needs_openvino),
    ],
)
def test_shards_of_two_ways_are_never_mixed(run, other, said):
    options = {"shard": 2, "precision": "bfloat16", "backend": "torch"}
    with pytest.raises(Interrupted):
        run(executor=Elsewhere(1), **options)
    with pytest.raises(RunDiffers, match=said):
        run(**options | other)


@needs_products
def test_a_scene_of_nodata_alone_is_run_too(weights, tmp_path):
    path = write_raster(tmp_path / "empty.tif", np.zeros((3, 100, 100), np.uint16), nodata=0)
    report = embed(
        path,
        tmp_path / "out.tif",
        wavelengths="0.665,0.56,0.49",
        weights=str(weights),
        precision="int8",
        backend="torch",
        normalize="none",
    )
    assert (report.valid_share, report.accuracy) == (0, None)


@pytest.mark.parametrize("level", ["window", "scene"])
@needs_products
def test_vectors_of_windows_come_from_the_same_tokens(run, level):
    exact, lowered = (
        run(f"{precision}.parquet", level=level, precision=precision, backend="torch")
        for precision in ("float32", "int8")
    )
    one, two = (np.stack(list(gpd.read_parquet(done.output)["embedding"])) for done in (exact, lowered))
    assert one.shape == two.shape
    assert float(torch.cosine_similarity(torch.from_numpy(one), torch.from_numpy(two)).min()) > 0.98


class TestHeads:
    def head(self, scene, weights, tmp_path):
        return saved(linear_head(recipe_for(scene), weights), tmp_path / "head.pt")

    @needs_products
    def test_maps_of_token_heads_are_computed_in_int8(self, scene, weights, tmp_path):
        options = {"head": self.head(scene, weights, tmp_path), "weights": str(weights), "backend": "torch"}
        exact, report = (
            segment(scene, tmp_path / f"{precision}.tif", precision=precision, **options)
            for precision in ("float32", "int8")
        )
        assert (read(exact) == read(report)).mean() > 0.97
        tags = report.facts.tags
        assert (tags["precision"], tags["backend"]) == ("int8", "torch")
        assert float(tags["float32_cosine"]) > 0.99

    @pytest.mark.parametrize(
        ("options", "said"),
        [({"precision": "int8"}, "--precision int8"), ({"backend": "openvino"}, "--backend openvino")],
    )
    def test_heads_that_look_into_the_network_need_pytorch(self, scene, weights, tmp_path, options, said):
        torch.manual_seed(0)
        training = Training.of(Method.UPERNET, {})
        plain = linear_head(recipe_for(scene, overlap=0), weights, CLASSES)
        decoder = new_decoder(TINY, len(CLASSES), training.plain(), bands=9)
        tensors = {f"{DECODER}{name}": tensor for name, tensor in decoder.state_dict().items()}
        head = replace(plain, method=Method.UPERNET, tensors=tensors, settings=training.plain())
        file = saved(head, tmp_path / "upernet.pt")
        with pytest.raises(OptionError, match=said):
            segment(scene, tmp_path / "map.tif", head=file, weights=str(weights), **options)
        report = segment(scene, tmp_path / "map.tif", head=file, weights=str(weights), precision="bfloat16")
        assert report.facts.tags["backend"] == "torch"

    @needs_products
    @pytest.mark.parametrize("grid", [None, "64px"])
    def test_images_and_squares_are_classified_in_int8(self, scene, weights, tmp_path, grid):
        head = image_head(scene, weights, tmp_path, CLASSES, [0.0, 0.5, 0.0], scale=1.0)
        images = [scene] if grid else [write_raster(tmp_path / "a.tif", reflectance(9, 64, 64), nodata=0)]
        options = {"head": head, "weights": str(weights), "backend": "torch", "grid": grid, "sensor": "sentinel2"}
        exact, report = (
            classify(images, tmp_path / f"{precision}.csv", precision=precision, **options)
            for precision in ("float32", "int8")
        )
        assert (report.precision, report.backend, report.rows) == ("int8", "torch", exact.rows)
        assert report.rows > 0


def test_the_command_line_takes_both_options_and_refuses_others(scene, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = ["embed", str(scene), "--sensor", "sentinel2", "--weights", str(weights)]
    done = CliRunner().invoke(app, [*usual, "--precision", "bfloat16", "--backend", "torch", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accuracy"]["cosine"] > 0.99
    refused = CliRunner().invoke(app, [*usual, "--backend", "onnx"])
    assert refused.exit_code == 2
    assert "--backend 'onnx' is not one of auto, torch, compiled, openvino" in refused.output
