"""The shipped manifest: every file is valid, unique and pinned; lookups answer with names or suggestions."""

import re

import pytest
from pydantic import ValidationError

from dofa_cli.errors import UnknownWeights
from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.weights import manifest
from dofa_cli.weights.checksum import sha256
from dofa_cli.weights.manifest import DEFAULT, checkpoint, checkpoints, old_layout, old_layouts, published_name

BASE_SHA256 = "4720985e42b918ac0307009eb06121a3435d9bbce6fd95446f84824a538165b1"

PUBLISHED_NAMES = [name for name in checkpoints() if name != DEFAULT]


def test_names():
    assert list(checkpoints()) == [
        "dofa-base",
        "dofa-large",
        "dofa-tiny",
        "dofa-v2-base",
        "dofa-v2-large",
        "torchgeo-dofa-base",
        "torchgeo-dofa-large",
    ]


def test_every_checkpoint_is_pinned_to_a_commit():
    fetched = [known for known in checkpoints().values() if known.embedded is None]
    assert len(fetched) == len(checkpoints()) - 1
    assert all(re.fullmatch("[0-9a-f]{40}", known.revision) for known in fetched)


def test_the_embedded_default_is_whole_small_and_described():
    tiny = checkpoint(DEFAULT)
    assert tiny.embedded is not None
    assert sha256(tiny.embedded, fresh=True) == tiny.sha256
    assert tiny.embedded.stat().st_size == tiny.size
    assert tiny.size <= 25e6
    card = (tiny.embedded.parent / f"{tiny.embedded.stem}.md").read_text()
    assert all(f"## {part}" in card for part in ("What it is for", "Data", "Training", "Quality"))


def test_file_names_are_unique_because_files_placed_by_hand_are_known_by_name():
    files = [entry.file for entry in [*checkpoints().values(), *old_layouts()]]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_architecture_is_a_published_one(name):
    known = checkpoint(name)
    size = "large" if name.endswith("large") else "base"
    assert DofaConfig(**known.architecture) == PUBLISHED[f"v{known.architecture['version']}_{size}"]


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_licence_is_that_of_the_weights(name):
    assert checkpoint(name).licence == "CC-BY-4.0"


def test_torchgeo_file_names_end_in_the_checksum():
    torchgeo = [known for known in checkpoints().values() if known.repo == "torchgeo/dofa"]
    assert [known.file.split("-")[-1] for known in torchgeo] == [f"{known.sha256_prefix}.pth" for known in torchgeo]


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownWeights, match=r"No weights 'dofa-bsae'\. Did you mean 'dofa-base'\?"):
        checkpoint("dofa-bsae")


def test_unknown_name_far_from_all_lists_them():
    with pytest.raises(UnknownWeights, match=r"No weights 'resnet'\. Known: dofa-base, dofa-large"):
        checkpoint("resnet")


def test_name_by_whole_checksum_and_by_prefix():
    assert published_name(BASE_SHA256) == "dofa-base"
    assert published_name("a0275954" + "0" * 56) == "torchgeo-dofa-base"


def test_no_name_for_an_unknown_checksum():
    assert published_name("0" * 64) is None


def test_old_layouts_by_checksum():
    old = old_layout("7cc0f413" + "0" * 56)
    assert old is not None
    assert old.file == "dofa_base_patch16_224-7cc0f413.pth"
    assert old_layout(BASE_SHA256) is None


def test_no_file_is_both_published_and_outdated():
    assert not any(published_name(old.checksum) for old in old_layouts())


def test_checkpoint_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        checkpoint("dofa-base").revision = "main"


@pytest.mark.parametrize("change", [{"sha256": "abc"}, {"sha256_prefix": "a02"}, {"size": 0}, {"colour": "red"}])
def test_malformed_fields_are_refused(change):
    with pytest.raises(ValidationError):
        manifest.Checkpoint(**{**checkpoint("dofa-base").model_dump(), **change})
