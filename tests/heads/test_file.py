"""The head file: what comes back, and every way in which a file can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dofa_cli.errors import DamagedHead, HeadError, OutputUnwritable, UnsafeHead, WrongHead
from dofa_cli.heads.file import MAGIC, check_weights, describe, load_head, save_head
from dofa_cli.heads.head import FORMAT, Head, InputRecipe, Method
from tests.heads.cases import CLASSES, head_of, number_head

TENSORS = {"weight": torch.randn(3, 24), "bias": torch.tensor([1.0, 2.0, 3.0])}


class Touch:
    """Unpickled carelessly, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def head() -> Head:
    metrics = {"miou": np.float32(0.5), "confusion": np.eye(2, dtype=np.int64), "folds": (1, 2), "none": None}
    return head_of(Method.LINEAR, TENSORS, {"c": [0.1]}, metrics=metrics, made={"at": "now"})


def same(found: Head, expected: Head) -> bool:
    tensors = found.tensors.keys() == expected.tensors.keys() and all(
        tensor.equal(found.tensors[name]) for name, tensor in expected.tensors.items()
    )
    empty = {"tensors": {}, "metrics": {}}
    return tensors and replace(found, **empty) == replace(expected, **empty)


def test_a_head_comes_back_as_it_was(tmp_path, head):
    save_head(tmp_path / "h.pt", head)
    found = load_head(tmp_path / "h.pt")
    assert same(found, head)
    assert found.metrics == {"miou": 0.5, "confusion": [[1, 0], [0, 1]], "folds": [1, 2], "none": None}


def test_a_head_of_numbers_comes_back_as_it_was(tmp_path):
    head = number_head(Method.LINEAR, {"weight": torch.ones(1, 24), "bias": torch.zeros(1)})
    save_head(tmp_path / "h.pt", replace(head, target=replace(head.target, nodata=-1.0)))
    found = load_head(tmp_path / "h.pt")
    assert found.classes is None
    assert found.target == replace(head.target, nodata=-1.0)


def test_the_same_head_gives_the_same_bytes_under_any_name(tmp_path, head):
    for name in ("a.pt", "b.pt"):
        save_head(tmp_path / name, head)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_a_file_that_was_there_stays_when_a_head_cannot_be_written(tmp_path, head):
    path = tmp_path / "h.pt"
    path.write_text("old")
    with pytest.raises(TypeError, match="cannot stand in a head file"):
        save_head(path, replace(head, metrics={"model": object()}))
    assert path.read_text() == "old"
    with pytest.raises(OutputUnwritable, match="none"):
        save_head(tmp_path / "none" / "h.pt", head)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.95])
def test_truncated_files_are_damaged(tmp_path, head, kept):
    path = tmp_path / "h.pt"
    save_head(path, head)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(DamagedHead, match=r"h\.pt"):
        load_head(path)


def test_files_that_run_code_are_refused_and_not_run(tmp_path):
    path, touched = tmp_path / "h.pt", tmp_path / "touched"
    torch.save({"magic": MAGIC, "format": FORMAT, "tensors": Touch(touched)}, path)
    with pytest.raises(UnsafeHead, match="would run code"):
        load_head(path)
    assert not touched.exists()


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, torch.ones(3), ["a"], {"magic": "other"}])
def test_other_files_of_torch_are_no_heads(tmp_path, content):
    torch.save(content, tmp_path / "h.pt")
    with pytest.raises(DamagedHead, match="not a head file of dofa"):
        load_head(tmp_path / "h.pt")


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 400, b"PK\x03\x04 no zip", b"GIF89a..."])
def test_other_files_are_no_heads(tmp_path, content):
    (tmp_path / "h.pt").write_bytes(content)
    with pytest.raises(DamagedHead, match="head file of dofa"):
        load_head(tmp_path / "h.pt")


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "crops.pt", tmp_path):
        with pytest.raises(HeadError, match=f"No head file {path}"):
            load_head(path)


def test_a_newer_format_names_both_versions(tmp_path):
    torch.save({"magic": MAGIC, "format": FORMAT + 6}, tmp_path / "h.pt")
    with pytest.raises(DamagedHead, match=rf"format {FORMAT + 6}; this program reads {FORMAT}\b"):
        load_head(tmp_path / "h.pt")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "guess"),
        ("method", None),
        ("tensors", {"weight": 3}),
        ("tensors", None),
        ("recipe", {"sensor": "x"}),
        ("classes", {"values": [2, 1], "names": ["a", "b"], "colours": [[0, 0, 0]] * 2, "nodata": 0}),
        ("target", {"mean": 1}),
    ],
)
def test_fields_that_make_no_sense_are_damage(tmp_path, head, name, value):
    save_head(tmp_path / "h.pt", head)
    content = torch.load(tmp_path / "h.pt", weights_only=True)
    torch.save(content | {name: value}, tmp_path / "h.pt")
    with pytest.raises(DamagedHead, match="damaged"):
        load_head(tmp_path / "h.pt")


def test_other_weights_are_refused_with_both_names(head):
    check_weights(head, "renamed", "a" * 64)
    with pytest.raises(WrongHead, match=r"'tiny' \(sha256 aaaa.*'dofa-base' \(sha256 bbbb"):
        check_weights(head, "dofa-base", "b" * 64)


def test_a_description_is_plain_and_names_classes(head):
    found = describe(head)
    assert [entry["name"] for entry in found["classes"]] == list(CLASSES.names)
    assert found["parameters"] == 75
    assert found["architecture"]["embed_dim"] == 24
    assert found["recipe"]["bands"] == ["B04", "B03", "B02"]
    assert not {"tensors", "magic"} & found.keys()


def test_a_head_opens_without_rasters_or_scikit_learn(tmp_path, head):
    save_head(tmp_path / "h.pt", head)
    code = (
        "import sys; from dofa_cli.heads.file import load_head; from dofa_cli.heads.build import token_head; "
        f"token_head(load_head({str(tmp_path / 'h.pt')!r})); print({{'rasterio', 'sklearn'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def input_recipe(date: str = "") -> InputRecipe:
    return InputRecipe("sentinel2", date, "l1c", ("B04",), (0.665,), ({"band": "B04", "mean": 1.0},))


def test_a_head_of_several_inputs_comes_back_as_it_was(tmp_path, head):
    recipe = replace(head.recipe, inputs=(input_recipe("2024-05"), input_recipe()), combine="mean")
    save_head(tmp_path / "head.pt", replace(head, recipe=recipe))
    found = load_head(tmp_path / "head.pt").recipe
    assert found == recipe
    assert [one.name for one in found.inputs] == ["sentinel2:2024-05", "sentinel2"]
    assert found.of(found.inputs[0]) == replace(
        head.recipe,
        sensor="sentinel2",
        product="l1c",
        bands=("B04",),
        wavelengths_um=(0.665,),
        normalization=({"band": "B04", "mean": 1.0},),
    )
    assert (found.width(24), replace(found, combine="concat").width(24)) == (24, 48)


def test_a_file_from_before_several_inputs_still_loads(tmp_path, head):
    save_head(tmp_path / "head.pt", head)
    stored = torch.load(tmp_path / "head.pt", weights_only=True)
    assert stored["format"] == 1
    assert set(stored["recipe"]) == BEFORE
    torch.save(stored, tmp_path / "old.pt")
    assert load_head(tmp_path / "old.pt").recipe == head.recipe


BEFORE = {
    *("sensor", "product", "bands", "wavelengths_um", "normalization"),
    *("window", "overlap", "zoom", "level", "chip", "token_norm"),
}
