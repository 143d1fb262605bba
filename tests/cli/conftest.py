from __future__ import annotations

import pytest

from tests.made import sentinel2_scene, tiny_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return str(tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    return str(sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif"))
