"""What a user names, as images."""

from __future__ import annotations

from pathlib import Path

import pytest

from dofa_cli.errors import SceneNotFound
from dofa_cli.pipelines.chips.files import find_images


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.jpg", "a/2.JPG", "b/3.tif", "b/notes.txt", "b/c/4.png", ".hidden/5.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(found):
    return [path.rsplit("/", 1)[1] for (path,) in found]


def test_a_folder_is_all_images_below_it(tree):
    assert names(find_images([str(tree)])) == ["1.jpg", "2.JPG", "3.tif", "4.png"]


def test_a_pattern_is_what_it_matches_once(tree):
    assert names(find_images([str(tree / "*" / "*.jpg"), str(tree / "a" / "1.jpg")])) == ["1.jpg"]


def test_a_folder_of_bands_is_one_image(tmp_path):
    for band in ("B02", "B03", "B8A"):
        (tmp_path / f"S2A_34_{band}.tif").touch()
    assert find_images([str(tmp_path)]) == [
        tuple(str(tmp_path / f"S2A_34_{band}.tif") for band in ("B02", "B03", "B8A"))
    ]


def test_files_stay_as_they_are_named(tree):
    assert find_images(["/vsizip/x.zip/a.tif"]) == [("/vsizip/x.zip/a.tif",)]


@pytest.mark.parametrize("name", ["nothing*.tif", ".hidden/none"])
def test_what_matches_nothing_is_named(tree, name):
    (tree / ".hidden/none").mkdir()
    with pytest.raises(SceneNotFound, match=name.replace("*", r"\*")):
        find_images([str(tree / name)])


def test_a_folder_of_products_is_one_image_a_product(tmp_path):
    patches = [f"S2A_MSIL2A_20170613T101031_{n}_48" for n in (1, 2)]
    for patch in patches:
        (tmp_path / patch).mkdir()
        for band in ("B02", "B03", "B04"):
            (tmp_path / patch / f"{patch}_{band}.tif").touch()
    found = find_images([str(tmp_path)])
    assert [{Path(path).relative_to(tmp_path).parts[0] for path in paths} for paths in found] == [{p} for p in patches]
