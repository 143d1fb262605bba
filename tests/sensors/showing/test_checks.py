"""What is allowed in a sensor file and still gets a warning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dofa_cli.sensors.files import SensorFile
from dofa_cli.sensors.registry import Entry
from dofa_cli.sensors.schema import Sensor
from dofa_cli.sensors.showing.checks import doubts

RED: dict[str, Any] = {"id": "R", "center_um": 0.66, "fwhm_um": 0.03}
BLUE: dict[str, Any] = {"id": "B", "center_um": 0.48, "fwhm_um": 0.05}
VV: dict[str, Any] = {
    "id": "VV",
    "frequency_ghz": 5.4,
    "polarisation": "VV",
    "model": {"dofa_v1": 3.75, "dofa_v2": 5.4},
}


def entry(*bands: dict[str, Any], where: str = "here", **fields: Any) -> Entry:
    content = {
        "id": "mine",
        "name": "Mine",
        "kind": "optical",
        "status": "given",
        "products": [{"id": "dn", "quantity": "dn"}],
        "bands": bands,
    }
    sensor = Sensor.model_validate(content | fields)
    return Entry(SensorFile(sensor, (Path(where) / f"{sensor.id}.toml",), (content,)), "user")


def test_nothing_to_say_of_a_sound_file():
    assert doubts(entry(RED, BLUE), [entry(RED, id="other", where="there")]) == ()
    assert doubts(entry(VV, kind="sar"), []) == ()


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (entry(RED, {"id": "B", "center_um": 0.48}), "no fwhm_um: B"),
        (entry(RED, {**BLUE, "center_um": 0.39}), "outside 0.4 to 2.5 µm, which is all that the weights saw: B"),
        (entry({**RED, "center_um": 10.9}), "outside 0.4 to 2.5 µm, which is all that the weights saw: R"),
        (
            entry(RED, BLUE, kind="hyperspectral"),
            "centres do not rise from R to B: is this the order of the files' bands?",
        ),
        (entry(BLUE, {**BLUE, "id": "C"}, kind="hyperspectral"), "centres do not rise from B to C"),
        (entry({**VV, "model": {"dofa_v1": 3.75}}, kind="sar"), "no wavelength for the network, so never usable"),
        (entry({**RED, "model": {"dofav1": 0.665}}), "weights families that there are not: dofav1; there are dofa_v1"),
        (entry(RED, presets={"rgb": ["R"]}, default={"v1": "rgb"}), "weights families that there are not: v1"),
        (entry({**RED, "aliases": ["Band-1"]}, {**BLUE, "aliases": ["band1"]}), "'band1' names several bands: R, B"),
        (entry(RED, {**BLUE, "aliases": ["r"]}), "'r' names several bands: R, B"),
    ],
)
def test_what_looks_like_a_mistake(known, words):
    (doubt,) = doubts(known, [])
    assert doubt.startswith(words)


def test_a_band_s_own_alias_may_repeat_its_id():
    assert doubts(entry({**RED, "aliases": ["r", "R-"]}), []) == ()


@pytest.mark.parametrize(
    ("fields", "theirs"),
    [
        ({"aliases": ["Kite 1"]}, {"aliases": ["kite-1"]}),
        ({"aliases": ["OTHER"]}, {}),
        ({}, {"aliases": ["Mine"]}),
    ],
    ids=["alias and alias", "alias and id", "id and alias"],
)
def test_a_name_that_another_sensor_has(fields, theirs):
    (doubt,) = doubts(entry(RED, **fields), [entry(RED, id="other", where="there", **theirs)])
    assert doubt.endswith(": other (user) has that name too")


def test_the_place_of_another_sensor():
    other = entry(RED, where="there")
    assert doubts(entry(RED), [other]) == (f"'mine' is also the id of {other.file.path} (user)",)


def test_a_sensor_is_no_rival_of_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doubts(entry(RED, where="here"), [entry(RED, where=str(tmp_path / "here"))]) == ()


def test_what_it_hides_is_named():
    hiding = replace(entry(RED), hidden=(Path("there") / "mine.toml",))
    assert doubts(entry(RED), [hiding]) == ("it takes the place of there/mine.toml",)


def test_long_lists_are_cut_short():
    bands = [{"id": f"b{n}", "center_um": 0.4 + n / 100} for n in range(1, 10)]
    assert doubts(entry(*bands), []) == ("no fwhm_um: b1, b2, b3, b4, b5, b6 and 3 more",)
