"""The files of the benchmark data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from dofa_cli.assess.measured import METRICS
from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Method, Task
from dofa_cli.pipelines.benchmarks.sets import all_benchmarks, benchmark
from dofa_cli.sensors.match import Label, choose_bands
from dofa_cli.sensors.registry import sensor as find_sensor

PAPER = {
    "m-bigearthnet", "m-forestnet", "m-brick-kiln", "m-pv4ger", "m-so2sat", "m-eurosat",
    "m-pv4ger-seg", "m-nz-cattle", "m-NeonTree", "m-cashew-plant", "m-SA-crop-type", "m-chesapeake",
    "resisc45", "segmunich",
}  # fmt: skip


def test_those_of_the_paper_are_there_by_its_protocols():
    found = {one.name: one for one in all_benchmarks()}
    assert found.keys() >= PAPER
    methods = {name: found[name].method for name in PAPER}
    assert [methods[name] for name in ("resisc45", "segmunich")] == [Method.FINETUNE] * 2
    assert all(
        methods[name] is (Method.LINEAR if found[name].task is Task.CLASSIFY else Method.UPERNET)
        for name in PAPER - {"resisc45", "segmunich"}
    )


@pytest.mark.parametrize("one", all_benchmarks(), ids=lambda one: one.name)
def test_each_is_sound(one):
    sensor = find_sensor(one.sensor)
    assert one.metric in METRICS
    assert one.product is None or one.product in {product.id for product in sensor.products}
    assert sum(one.shares) == pytest.approx(1)
    assert all(figure.source and 0 < figure.value <= 100 for figure in one.published)
    if one.layout == "geobench":
        labels = [Label("x.tif", at, len(one.bands), name) for at, name in enumerate(one.bands, 1)]
        chosen = choose_bands(labels, sensor, ",".join(one.bands), "dofa_v1")
        assert chosen.positions == tuple(range(len(one.bands)))
        assert len(set(one.bands.values())) == len(one.bands)


def test_published_figures_are_those_of_the_source():
    values = {figure.model: figure.value for figure in benchmark("m-SA-crop-type").published}
    assert values == {"DOFA base": 33.0, "DOFA large": 32.1}
    frozen = benchmark("RESISC45").figures(Method.LINEAR)
    assert [figure.value for figure in frozen] == [91.3, 91.9]


def test_eurosat_and_brick_kiln_are_read_by_their_true_bands():
    assert benchmark("m-eurosat").bands["B11"] == "10 - SWIR - Cirrus"
    assert benchmark("m-eurosat").bands["B12"] == "11 - SWIR"
    assert benchmark("m-brick-kiln").bands["B07"] == "06 - Vegetation Red Edge"
    assert "B06" not in benchmark("m-brick-kiln").bands


def test_the_page_lists_each_with_its_figures():
    page = (Path(__file__).resolve().parents[3] / "docs" / "benchmark-sets.md").read_text(encoding="utf-8")
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert lines.keys() == {one.name for one in all_benchmarks()}
    for one in all_benchmarks():
        ours = [f"{figure.model} {figure.value:g}" for figure in one.published if figure.model.startswith("DOFA")]
        assert ("; ".join(ours) or "–") in lines[one.name]
        assert f"| {one.task.value} | {one.method.value} | {METRICS[one.metric].title} |" in lines[one.name]


def test_a_wrong_name_is_met_with_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'm-eurosat'"):
        benchmark("m-euro-sat")
    with pytest.raises(OptionError, match="--benchmark list"):
        benchmark("zzz")
