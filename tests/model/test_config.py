"""The architecture's description: what is derived, what is refused."""

from __future__ import annotations

import json

import pytest

from dofa_cli.errors import WrongWeights
from dofa_cli.model.config import PUBLISHED, DofaConfig

BASE = {"version": 1, "patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12, "image_size": 224}


@pytest.mark.parametrize(("size", "cells"), [("v1_base", 14), ("v1_huge", 16), ("v2_base", 16), ("v2_large", 16)])
def test_native_cells_are_the_patches_along_a_side(size, cells):
    assert PUBLISHED[size].native_cells == cells


@pytest.mark.parametrize(("size", "family", "scaled"), [("v1_large", "dofa_v1", False), ("v2_large", "dofa_v2", True)])
def test_the_version_decides_family_and_layer_scale(size, family, scaled):
    assert (PUBLISHED[size].family, PUBLISHED[size].layer_scale) == (family, scaled)


@pytest.mark.parametrize("size", PUBLISHED)
def test_json_round_trip(size):
    assert DofaConfig.from_json(PUBLISHED[size].to_json()) == PUBLISHED[size]


def test_an_image_size_left_out_is_the_published_one():
    fields = {name: value for name, value in BASE.items() if name != "image_size"}
    assert DofaConfig.from_json(json.dumps(fields)).image_size == 224


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "version 3"),
        ({"num_heads": 7}, "768 dimensions do not divide into 7 heads"),
        ({"image_size": 225}, "225 is not a multiple of patch size 16"),
        ({"num_heads": 0}, "num_heads"),
        ({"patch_size": 0}, "patch_size"),
        ({"depth": -1}, "depth"),
        ({"patch_size": 16.0}, "patch_size"),
        ({"embed_dim": "768"}, "embed_dim"),
        ({"depth": None}, "depth"),
        ({"drop_path": 0.1}, "drop_path"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    with pytest.raises(WrongWeights, match=words):
        DofaConfig.from_json(json.dumps(BASE | change))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"v1"', '{"version": 1}'])
def test_text_that_describes_no_architecture_is_refused(text):
    with pytest.raises(WrongWeights, match="dofa_config"):
        DofaConfig.from_json(text)


def test_an_unpublished_width_needs_a_declared_architecture():
    shapes = {"cls_token": (1, 1, 100)}
    with pytest.raises(WrongWeights, match=r"100 .*384, 768, 1024, 1280.*dofa_config"):
        DofaConfig.from_shapes(shapes, 1)
