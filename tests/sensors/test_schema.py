"""The format of a sensor file: what it accepts, and that every fault is named with its file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dofa_cli.errors import BadSensorFile
from dofa_cli.sensors.registry import entry
from dofa_cli.sensors.schema import Band, Quantity, Sensor

RED = {"id": "red", "center_um": 0.66, "fwhm_um": 0.03}
NIR = {"id": "nir", "center_um": 0.84}
VV = {"id": "VV", "polarisation": "VV", "frequency_ghz": 5.405}
STATISTICS = {
    "weights": ["dofa_v1"],
    "training_scale": "sentinel2-8bit",
    "bands": ["red", "nir"],
    "mean": [100.0, 90.0],
    "std": [50.0, 40.0],
    "status": "verified",
    "source": "a test",
}


def read_sensor(path: Path) -> Sensor:
    """Read a file as the registry does."""
    return entry(str(path)).sensor


def content(**changes: Any) -> dict[str, Any]:
    """A small valid optical sensor, with changes."""
    fields = {"id": "mine", "name": "Mine", "kind": "optical", "status": "given"}
    return fields | {"products": [{"id": "dn", "quantity": "dn"}], "bands": [RED, NIR]} | changes


def toml(path: Path, fields: dict[str, Any]) -> Path:
    """Write the fields as TOML (tables inline)."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {inline(entry)}" for key, entry in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value)

    path.write_text("\n".join(f"{name} = {inline(value)}" for name, value in fields.items()), encoding="utf-8")
    return path


def test_a_small_file_is_enough(tmp_path):
    sensor = read_sensor(toml(tmp_path / "mine.toml", content()))
    assert [band.id for band in sensor.bands] == ["red", "nir"]
    assert sensor.default_bands("dofa_v1") == ("red", "nir")


def test_everything_together(tmp_path):
    full = content(
        default_product="sr",
        default={"dofa_v1": "trained"},
        presets={"trained": ["nir"]},
        stack_orders=[["red", "nir"]],
        products=[{"id": "sr", "quantity": "boa_reflectance", "scale": 1e-4, "nodata": 0.0, "pattern": "SR_"}],
        statistics=[STATISTICS],
    )
    sensor = read_sensor(toml(tmp_path / "mine.toml", full))
    assert sensor.default_bands("dofa_v1") == ("nir",)
    assert sensor.default_bands("dofa_v2") == ("red", "nir")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"bands": [RED | {"center_um": 665.0}]},
            "band red, center_um: 665 looks like nanometres.*0.665",
            id="nanometres",
        ),
        pytest.param(
            {"bands": [RED | {"model": {"dofa_v1": 665.0}}]},
            "band red, model, dofa_v1: 665 looks like nano",
            id="model in nm",
        ),
        pytest.param({"bands": [RED | {"center_um": 0.05}]}, "band red, center_um: .*0.1", id="X-rays"),
        pytest.param({"bands": [RED | {"fwhm_um": 30}]}, "band red: fwhm_um 30.* is not below", id="width in nm"),
        pytest.param({"bands": [RED | {"centre_um": 0.66}]}, "band red, centre_um: Extra", id="misspelt field"),
        pytest.param({"bands": [RED | {"frequency_ghz": 5.4}]}, "band red: give either", id="two physics"),
        pytest.param({"bands": [{"id": "red"}]}, "band red: give either", id="no physics"),
        pytest.param({"bands": [VV]}, "band VV: a sensor of kind optical needs center_um", id="radar band"),
        pytest.param({"kind": "sar"}, "band red: a sensor of kind sar needs frequency_ghz", id="optical band"),
        pytest.param({"kind": "lidar"}, "kind: Input should be 'optical'", id="unknown kind"),
        pytest.param(
            {"kind": "sar", "bands": [VV | {"polarisation": "RL"}]}, "band VV, polarisation", id="polarisation"
        ),
        pytest.param({"bands": [RED | {"id": "red edge"}]}, "band red edge, id", id="blank in an id"),
        pytest.param({"bands": [RED, RED]}, "band id given twice: red", id="band twice"),
        pytest.param({"bands": []}, "bands: .*at least 1", id="no band"),
        pytest.param({"products": []}, "products: .*at least 1", id="no product"),
        pytest.param(
            {"products": [{"id": "dn", "quantity": "dn"}] * 2}, "product id given twice: dn", id="product twice"
        ),
        pytest.param({"products": [{"id": "dn", "quantity": "counts"}]}, "product dn, quantity", id="unknown quantity"),
        pytest.param(
            {"products": [{"id": "dn", "quantity": "dn", "pattern": "("}]},
            "product dn, pattern: not a regular expression",
            id="bad pattern",
        ),
        pytest.param({"file_patterns": ["[B"]}, "file_patterns.0: not a regular expression", id="bad file pattern"),
        pytest.param({"default_product": "l2a"}, "default_product 'l2a' is not one of", id="unknown default product"),
        pytest.param({"default": {"dofa_v1": "best"}}, "presets that are not there: best", id="unknown default preset"),
        pytest.param({"presets": {"rgb": ["red", "blue"]}}, "preset 'rgb' names .*blue", id="unknown band in preset"),
        pytest.param({"presets": {"rgb": []}}, "preset 'rgb' names no band", id="empty preset"),
        pytest.param(
            {"stack_orders": [["red", "red"]]}, "band of stack order 1 given twice: red", id="band twice in order"
        ),
        pytest.param({"stack_orders": [["red", "B9"]]}, "stack order 1 names .*B9", id="unknown band in order"),
        pytest.param(
            {"statistics": [STATISTICS | {"bands": ["red", "blue"]}]},
            "statistics names .*blue",
            id="unknown statistics",
        ),
        pytest.param(
            {"statistics": [STATISTICS | {"std": [50.0]}]},
            "statistics.0: .*unequal lengths: 2 bands, 2 means, 1 stds",
            id="unequal statistics",
        ),
        pytest.param({"statistics": [STATISTICS | {"std": [50.0, 0.0]}]}, "statistics.0.std.1", id="zero deviation"),
    ],
)
def test_faults_are_named_with_file_and_field(tmp_path, changes, words):
    path = toml(tmp_path / "mine.toml", content(**changes))
    with pytest.raises(BadSensorFile, match=rf"mine\.toml is not a valid sensor file: .*{words}"):
        read_sensor(path)


@pytest.mark.parametrize("missing", ["id", "name", "kind", "status", "products", "bands"])
def test_a_missing_field_is_named(tmp_path, missing):
    fields = {name: value for name, value in content().items() if name != missing}
    with pytest.raises(BadSensorFile, match=f"{missing}: Field required"):
        read_sensor(toml(tmp_path / "mine.toml", fields))


def test_several_faults_are_all_told(tmp_path):
    path = toml(tmp_path / "mine.toml", content(kind="lidar", bands=[RED | {"center_um": 665.0}]))
    with pytest.raises(BadSensorFile, match=r"kind: [^;]*; band red, center_um: [^;]*; [^;]* \(0\.665\)$"):
        read_sensor(path)


def test_a_read_sensor_does_not_change():
    sensor = Sensor.model_validate(content())
    with pytest.raises(ValidationError, match="frozen"):
        sensor.id = "other"


class TestWavelengths:
    def test_physics_stands_where_training_saw_nothing_else(self):
        assert Band.model_validate(RED).wavelength_um("dofa_v1") == 0.66

    def test_what_training_saw_goes_before_physics(self):
        band = Band.model_validate(RED | {"model": {"dofa_v1": 0.665}})
        assert (band.wavelength_um("dofa_v1"), band.wavelength_um("dofa_v2")) == (0.665, 0.66)

    def test_radar_has_none_of_its_own(self):
        assert Band.model_validate(VV).wavelength_um("dofa_v1") is None

    @pytest.mark.parametrize(("center", "thermal"), [(2.2, False), (3.0, False), (3.9, True), (10.9, True)])
    def test_thermal_bands_lie_beyond_3_micrometres(self, center, thermal):
        assert Band(id="b", center_um=center).is_thermal is thermal


@pytest.mark.parametrize(
    ("quantity", "is_reflectance", "is_power", "is_decibel"),
    [
        ("toa_reflectance", True, False, False),
        ("boa_reflectance", True, False, False),
        ("sigma0_power", False, True, False),
        ("gamma0_power", False, True, False),
        ("sigma0_db", False, False, True),
        ("gamma0_db", False, False, True),
        ("amplitude", False, False, False),
        ("display", False, False, False),
        ("dn", False, False, False),
    ],
)
def test_quantities_fall_into_kinds(quantity, is_reflectance, is_power, is_decibel):
    found = Quantity(quantity)
    assert (found.is_reflectance, found.is_power, found.is_decibel) == (is_reflectance, is_power, is_decibel)
