"""One place with optical and radar images of which the radar alone shows the classes, and heads trained on it."""

from __future__ import annotations

import pytest

from dofa_cli.pipelines.train import train
from tests.made import tiny_weights
from tests.pipelines.inputs.cases import labels, optical, radar, squares


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOFA_CACHE", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="session")
def here(tmp_path_factory):
    """A folder with weights, ``s2.tif``, ``s1.tif``, ``labels.tif``."""
    folder = tmp_path_factory.mktemp("here")
    classes = squares()
    tiny_weights(folder / "tiny.safetensors")
    optical(folder / "S2A_MSIL1C_s2.tif")
    radar(folder / "s1.tif", classes)
    labels(folder / "labels.tif", classes)
    return folder


@pytest.fixture(scope="session")
def s2(here):
    return f"{here / 'S2A_MSIL1C_s2.tif'}:sentinel2"


@pytest.fixture(scope="session")
def s1(here):
    return f"{here / 's1.tif'}:sentinel1"


@pytest.fixture
def learn(here, tmp_path):
    """Train a head of the folder's labels; returns the report."""

    def learn(*scenes, name="head.pt", **options):
        usual = {"labels": here / "labels.tif", "weights": str(here / "tiny.safetensors"), "settings": {"c": [1.0]}}
        return train(tmp_path / name, scene=scenes, **{**usual, **options})

    return learn


@pytest.fixture(scope="session")
def heads(here, s1, s2):
    """Heads on both inputs, side by side and as their mean, by name."""
    asked = {"labels": here / "labels.tif", "weights": str(here / "tiny.safetensors"), "settings": {"c": [1.0]}}
    for name in ("concat", "mean"):
        train(here / f"{name}.pt", scene=[s2, s1], combine=name, **asked)
    return {name: here / f"{name}.pt" for name in ("concat", "mean")}
