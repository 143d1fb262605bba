"""What dofa writes opens in QGIS with its place, names and colours, where QGIS with its Python is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import rasterio

from dofa_cli.classes import ClassTable
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.segment import segment
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import linear_head, recipe_for, saved

PYTHON = shutil.which("python3", path="/usr/bin") or "python3"
"""The interpreter that QGIS is installed for, which is not that of a virtual environment."""
CLASSES = ClassTable.of([1, 4, 9], {1: "water", 4: "Wälder & Büsche", 9: "fields"}, {4: (10, 200, 30)})
OPEN = """
import json, sys
from qgis.core import QgsApplication, QgsRasterLayer, QgsVectorLayer
app = QgsApplication([], False)
app.initQgis()
found = {}
for path in sys.argv[1:]:
    raster = path.endswith((".tif", ".vrt"))
    layer = QgsRasterLayer(path, "x") if raster else QgsVectorLayer(path, "x", "ogr")
    box, drawn = layer.extent(), layer.renderer()
    one = {"valid": layer.isValid(), "crs": layer.crs().authid(), "renderer": drawn.type()}
    one["extent"] = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
    if drawn.type() == "paletted":
        one["classes"] = {str(int(c.value)): [c.label, c.color.name()] for c in drawn.classes()}
    if drawn.type() == "categorizedSymbol":
        one["classes"] = {str(c.value()): [c.label(), c.symbol().color().name()] for c in drawn.categories()}
    if raster:
        one["bands"], one["first"] = layer.bandCount(), layer.bandName(1)
    found[path.rpartition("/")[2]] = one
print(json.dumps(found))
"""


def has_qgis():
    asked = [PYTHON, "-c", "import qgis.core"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not has_qgis(), reason="QGIS with its Python is not installed")]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qgis")
    weights = tiny_weights(folder / "tiny.safetensors")
    scene = sentinel2_scene(folder / "scene.tif", 150, 170)
    embed(scene, folder / "embedding.tif", sensor="sentinel2", weights=str(weights))
    head = saved(linear_head(recipe_for(scene), weights, CLASSES), folder / "head.pt")
    segment(scene, folder / "map.tif", head=head, weights=str(weights), polygons=folder / "map.gpkg")
    segment(scene, folder / "other.tif", head=head, weights=str(weights), polygons=folder / "areas.gpkg")
    paths = [folder / name for name in ("scene.tif", "embedding.tif", "map.tif", "map.gpkg", "areas.gpkg")]
    done = subprocess.run(
        [PYTHON, "-c", OPEN, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_layers_lie_where_the_scene_lies(opened):
    folder, layers = opened
    for name in ("embedding.tif", "map.tif", "map.gpkg"):
        assert layers[name]["valid"]
        assert layers[name]["crs"] == "EPSG:32633"
    with rasterio.open(folder / "scene.tif") as scene:
        np.testing.assert_allclose(layers["map.tif"]["extent"], scene.bounds)
        np.testing.assert_allclose(layers["map.gpkg"]["extent"], scene.bounds)
    with rasterio.open(folder / "embedding.tif") as embedding:
        np.testing.assert_allclose(layers["embedding.tif"]["extent"], embedding.bounds)


def test_an_embedding_has_a_band_a_dimension(opened):
    layer = opened[1]["embedding.tif"]
    assert (layer["bands"], layer["renderer"]) == (24, "multibandcolor")
    assert "dim_0" in layer["first"]


@pytest.mark.parametrize("name", ["map.tif", "map.gpkg", "areas.gpkg"])
def test_classes_have_their_names_and_colours_at_once(opened, name):
    layer = opened[1][name]
    assert layer["renderer"] == ("paletted" if name.endswith(".tif") else "categorizedSymbol")
    rows = zip(CLASSES.values, CLASSES.names, CLASSES.colours, strict=True)
    wanted = {str(value): [text, "#{:02x}{:02x}{:02x}".format(*colour)] for value, text, colour in rows}
    assert {key: layer["classes"][key] for key in wanted} == wanted
