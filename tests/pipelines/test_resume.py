"""Every verb, killed after some shards or run elsewhere: the result is that of an uninterrupted run, bit for bit."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from dofa_cli.errors import OptionError, OutputExists, RunDiffers
from dofa_cli.pipelines.classify import classify
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.segment import segment
from dofa_cli.pipelines.shards import session as session_module
from dofa_cli.pipelines.shards.store import parts_path
from tests.made import TRAINED, reflectance, tiny_weights, write_raster
from tests.pipelines.head_cases import CLASSES, linear_head, recipe_for, saved
from tests.pipelines.image_heads import image_head

SIDES = 150, 170


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Weights, a scene with a hole, its embeddings, eight images, and heads for all of them."""
    folder = tmp_path_factory.mktemp("here")
    weights = tiny_weights(folder / "tiny.safetensors")
    values = reflectance(9, *SIDES)
    values[:, 40:75, 30:110] = 0
    scene = write_raster(folder / "S2A_MSIL1C_20170216T102101_scene.tif", values, TRAINED, nodata=0)
    saved(linear_head(recipe_for(scene), weights), folder / "crops.pt")
    image_head(scene, weights, folder, CLASSES, [0.0, 0.0, 0.0], scale=1.0, name="images.pt")
    (folder / "images").mkdir()
    for number in range(8):
        write_raster(folder / "images" / f"{number}.tif", reflectance(9, 64, 64, number), TRAINED)
    embed(scene, folder / "stored.tif", sensor="sentinel2", weights=str(weights))
    return folder


def scene_of(here: Path) -> Path:
    return next(here.glob("S2A*.tif"))


def embedded(output: str, **options: object):
    def run(here, folder, **more):
        given = {"weights": str(here / "tiny.safetensors"), "sensor": "sentinel2", "shard": 1}
        return embed(scene_of(here), folder / output, **(given | options | more))

    return run


def mapped(source: str, **options: object):
    def run(here, folder, **more):
        given = {"head": here / "crops.pt", "weights": str(here / "tiny.safetensors")}
        return segment(next(here.glob(source)), folder / "map.tif", **(given | options | more))

    return run


def classified(source: str, output: str, **options: object):
    def run(here, folder, **more):
        given = {"head": here / "images.pt", "weights": str(here / "tiny.safetensors"), "batch_size": 2}
        return classify(next(here.glob(source)), folder / output, **(given | options | more))

    return run


VERBS = {
    "float32": embedded("out.tif"),
    "bfloat16": embedded("out.tif", precision="bfloat16", batch_size=3),
    "int8": embedded("out.tif", dtype="int8"),
    "zarr": embedded("out.zarr", precision="bfloat16"),
    "window": embedded("out.parquet", level="window"),
    "scene": embedded("out.parquet", level="scene"),
    "map": mapped("S2A*.tif", shard=1, probabilities=True, confidence="margin"),
    "map of embeddings": mapped("stored.tif"),
    "images": classified("images", "out.csv"),
    "squares": classified("S2A*.tif", "out.gpkg", grid="20px"),
    "square map": classified("S2A*.tif", "out.tif", grid="20px"),
}
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture(autouse=True)
def many_small_shards(monkeypatch):
    """Cut blocks of stored embeddings, and rows, into several shards each."""
    monkeypatch.setattr("dofa_cli.pipelines.mapping.from_embedding.SIDE", 4)
    monkeypatch.setattr("dofa_cli.pipelines.mapping.row_shards.ROWS_A_SHARD", 2)


@pytest.fixture(scope="module")
def whole(here, tmp_path_factory):
    """What an uninterrupted run writes and reports, once a verb."""
    done = {}

    def run(verb):
        if verb not in done:
            folder = tmp_path_factory.mktemp("whole")
            done[verb] = reported(verb(here, folder)), contents(folder)
        return done[verb]

    return run


class Killed(BaseException):
    """Stands for a process that ends between two instructions."""


class DiesAfter:
    """Finishes some shards and half of another, and is gone."""

    def __init__(self, shards):
        self.shards = shards

    def run(self, recipe, work, numbers, store, on_done):  # noqa: ARG002 - the protocol's
        for done in work.run(numbers[: self.shards], store.path):
            store.finish(done)
        (store.path / ".000099.npy.1.abcd").write_bytes(b"half")
        (store.path / "000098.npy").write_bytes(b"without a record")
        raise Killed


class Elsewhere:
    """Opens the work anew from its recipe, as another process does, and runs the shards backwards."""

    def run(self, recipe, work, numbers, store, on_done):  # noqa: ARG002 - the protocol's
        opened = pickle.loads(pickle.dumps(recipe)).open()
        for number in reversed(numbers):
            for done in opened.run([number], store.path):
                store.finish(done)
                on_done(done)


def kill(monkeypatch, verb, here, folder, shards, **options):
    """Run a verb up to some shards, and leave everything as a killed process would."""
    with monkeypatch.context() as patch:
        patch.setattr(session_module, "_leave", lambda *_: None)
        with pytest.raises(Killed):
            verb(here, folder, executor=DiesAfter(shards), **options)


def reported(report):
    """Return a report without what differs from run to run."""
    plain = json.loads(report.to_json())
    for name in ("seconds", "stages", "peak_memory_bytes", "kept_shards", "output", "files"):
        plain.pop(name, None)
    return plain


def contents(folder):
    """Return everything in a folder, by name: rasters with tags, tables as rows."""
    return {path.name: content(path) for path in sorted(folder.iterdir())}


def content(path):
    if path.is_dir():
        return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}
    if path.suffix == ".tif":
        with rasterio.open(path) as file:
            return file.read().tobytes(), file.tags(), file.descriptions, file.scales
    if path.suffix == ".gpkg":  # whose header holds the time of writing
        return gpd.read_file(path).to_json()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("verb", "shards"),
    [pytest.param(verb, 2, id=f"{name}, 2") for name, verb in VERBS.items()]
    + [
        pytest.param(VERBS[name], shards, id=f"{name}, {shards}")
        for name in ("bfloat16", "map")
        for shards in (0, 1, 5)
    ],
)
def test_a_killed_run_goes_on_to_the_same_result(here, tmp_path, monkeypatch, whole, verb, shards):
    expected = whole(verb)
    kill(monkeypatch, verb, here, tmp_path, shards)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    said: list[str] = []
    report = verb(here, tmp_path, say=said.append)
    kept = [line for line in said if line.startswith("Continuing: ")]
    assert [line.split()[1] for line in kept] == ([str(shards)] if shards else [])
    assert reported(report) == expected[0]
    assert contents(tmp_path) == expected[1]


@each_verb
def test_work_opened_from_its_recipe_gives_the_same_result(here, tmp_path, whole, verb):
    expected = whole(verb)
    assert reported(verb(here, tmp_path, executor=Elsewhere())) == expected[0]
    assert contents(tmp_path) == expected[1]


def test_opening_a_recipe_changes_nothing_of_the_process(here, tmp_path):
    before = dict(os.environ)
    embedded("out.tif")(here, tmp_path, executor=Elsewhere())
    assert (tmp_path / "out.tif").exists()
    assert dict(os.environ) == before


def test_the_8_bit_code_of_the_first_start_is_used_again(here, tmp_path, monkeypatch, whole):
    expected = whole(VERBS["int8"])
    kill(monkeypatch, VERBS["int8"], here, tmp_path, 2)
    monkeypatch.setattr("dofa_cli.pipelines.embed.calibrate", lambda _: pytest.fail("calibrated again"))
    VERBS["int8"](here, tmp_path)
    assert contents(tmp_path) == expected[1]


@pytest.mark.parametrize("harm", [b"", b"x"], ids=["cut short", "another byte"])
def test_a_damaged_part_is_done_again(here, tmp_path, monkeypatch, whole, harm):
    expected = whole(VERBS["float32"])
    kill(monkeypatch, VERBS["float32"], here, tmp_path, 3)
    part = parts_path(tmp_path / "out.tif") / "000001.npy"
    part.write_bytes(part.read_bytes()[:-1] + harm)
    said: list[str] = []
    report = VERBS["float32"](here, tmp_path, say=said.append)
    assert [line for line in said if "damaged" in line]
    assert report.kept_shards == 2
    assert contents(tmp_path) == expected[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zoom": 2}, "zoom was 1, is 2"),
        ({"dtype": "int8"}, "storage was float32, is int8"),
        ({"min_valid": 0.2}, "min_valid was 0.5, is 0.2"),
        ({"batch_size": 1}, "batch size was "),
        ({"shard": 2}, "shard was 1, is 2"),
        ({"precision": "bfloat16"}, "precision was float32, is bfloat16"),
    ],
)
def test_another_command_is_told_the_difference(here, tmp_path, monkeypatch, options, said):
    kill(monkeypatch, VERBS["float32"], here, tmp_path, 2)
    with pytest.raises(RunDiffers, match=said):
        VERBS["float32"](here, tmp_path, **options)
    assert VERBS["float32"](here, tmp_path).kept_shards == 2


def test_overwriting_drops_the_parts_of_another_command(here, tmp_path, monkeypatch, whole):
    kill(monkeypatch, VERBS["int8"], here, tmp_path, 2)
    assert VERBS["float32"](here, tmp_path, overwrite=True).kept_shards == 0
    assert contents(tmp_path) == whole(VERBS["float32"])[1]


def test_overwriting_goes_on_with_the_same_command(here, tmp_path, monkeypatch):
    (tmp_path / "out.tif").write_text("old")
    kill(monkeypatch, VERBS["float32"], here, tmp_path, 2, overwrite=True)
    assert (tmp_path / "out.tif").read_text() == "old"
    assert VERBS["float32"](here, tmp_path, overwrite=True).kept_shards == 2


def test_a_changed_scene_is_told(here, tmp_path, monkeypatch):
    scene = tmp_path / "S2A_MSIL1C_20170216T102101_copy.tif"
    scene.write_bytes(scene_of(here).read_bytes())
    given = {"weights": str(here / "tiny.safetensors"), "sensor": "sentinel2", "shard": 1}
    with monkeypatch.context() as patch:
        patch.setattr(session_module, "_leave", lambda *_: None)
        with pytest.raises(Killed):
            embed(scene, tmp_path / "out.tif", executor=DiesAfter(2), **given)
    os.utime(scene, (1, 1))
    with pytest.raises(RunDiffers, match=r"copy\.tif was written again since"):
        embed(scene, tmp_path / "out.tif", **given)


def test_how_a_map_is_drawn_may_change_between_the_runs(here, tmp_path, monkeypatch):
    kill(monkeypatch, VERBS["map"], here, tmp_path, 2)
    report = VERBS["map"](here, tmp_path, smooth="majority")
    assert report.kept_shards == 2


@each_verb
def test_a_run_killed_when_its_result_was_made_and_not_yet_noted_goes_on(here, tmp_path, monkeypatch, whole, verb):
    expected = whole(verb)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dofa_cli.pipelines.shards.store.PartStore.end", killed)
        patch.setattr(session_module, "_leave", lambda *_: None)
        with pytest.raises(Killed):
            verb(here, tmp_path)
    assert reported(verb(here, tmp_path)) == expected[0]
    assert contents(tmp_path) == expected[1]


@each_verb
def test_a_run_cut_short_while_it_cleans_up_ends_with_its_report(here, tmp_path, monkeypatch, whole, verb):
    expected = whole(verb)

    def removed(store):
        for record in store.path.glob("0*"):
            record.unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dofa_cli.pipelines.shards.store.PartStore.remove", removed)
        with pytest.raises(Killed):
            verb(here, tmp_path)
    assert reported(verb(here, tmp_path)) == expected[0]
    assert contents(tmp_path) == expected[1]
    with pytest.raises(OutputExists):
        verb(here, tmp_path)


def test_kept_parts_are_reported_and_used_again(here, tmp_path):
    first = VERBS["float32"](here, tmp_path, keep_parts=True)
    assert parts_path(tmp_path / "out.tif").is_dir()
    again = VERBS["float32"](here, tmp_path, overwrite=True)
    assert (first.kept_shards, again.kept_shards) == (0, first.shards)


def test_a_dry_run_makes_no_parts_and_no_lock(here, tmp_path):
    VERBS["float32"](here, tmp_path, dry_run=True)
    VERBS["map"](here, tmp_path, dry_run=True)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_leaves_nothing(here, tmp_path):
    blank = write_raster(tmp_path / "blank.tif", np.zeros((9, 64, 64), np.uint16), TRAINED, nodata=0)
    with pytest.raises(OptionError, match="No square"):
        classify(
            blank,
            tmp_path / "out.gpkg",
            head=here / "images.pt",
            grid="20px",
            weights=str(here / "tiny.safetensors"),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["blank.tif"]


def command(here, folder):
    arguments = ("embed", scene_of(here), "-o", folder / "out.tif", "--weights", here / "tiny.safetensors")
    return [*map(str, arguments), "--sensor", "sentinel2", "--shard", "1"]


def started(here, folder, seconds_a_shard):
    """Start the command as a process whose shards take a while; wait for the first record."""
    slow = (
        "import sys, time; from dofa_cli.pipelines.shards import execute; from dofa_cli.cli.main import run\n"
        "before = execute.check_stop\n"
        f"execute.check_stop = lambda: (time.sleep({seconds_a_shard}), before())\n"
        "sys.argv[0] = 'dofa'; run()"
    )
    arguments = [sys.executable, "-c", slow, *command(here, folder)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(parts_path(folder / "out.tif").glob("0*.json")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 93), (signal.SIGINT, 93), (signal.SIGKILL, -9)])
def test_a_signalled_command_leaves_a_state_from_which_it_goes_on(here, tmp_path, whole, number, code):
    process = started(here, tmp_path, 0.5)
    process.send_signal(number)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == code
    assert "Traceback" not in errors
    hidden = {path.name for path in tmp_path.iterdir()}
    assert hidden == {".out.tif.parts"} | ({".out.tif.lock"} if code < 0 else set())
    assert embedded("out.tif")(here, tmp_path).kept_shards >= 1
    assert contents(tmp_path) == whole(VERBS["float32"])[1]
