"""Any content of a sensor file gives a valid sensor or one line that names the file, and never another exception."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import BadSensorFile, UnknownSensor
from dofa_cli.sensors.files import SensorFile, read_sensor_file
from dofa_cli.sensors.making.write import to_toml
from dofa_cli.sensors.schema import Band, Kind, Product, Quantity, Sensor, Statistics

numbers = st.one_of(
    st.floats(allow_nan=False), st.integers(-(10**6), 10**6), st.sampled_from([0.665, 665.0, 0.03, 5.405])
)
words = st.one_of(st.text(max_size=8), st.sampled_from(["mine", "B1", "B2", "sentinel2", "VV", "a{", "(?P<band>x)"]))
scalars = st.one_of(numbers, words, st.booleans())
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def table(model: Any, **sound: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw some of a model's fields, each sound or anything at all."""
    fields = {name: sound.get(name, anything) | anything for name in model.model_fields}
    return st.fixed_dictionaries({}, optional=fields)


bands = table(Band, id=words, center_um=numbers, fwhm_um=numbers, frequency_ghz=numbers)
products = table(Product, id=words, quantity=st.sampled_from([one.value for one in Quantity]), scale=numbers)
statistics = table(Statistics, bands=st.lists(words, max_size=2), mean=st.lists(numbers, max_size=2))
contents = st.fixed_dictionaries(
    {"id": st.just("mine") | anything},
    optional={
        **{name: anything for name in Sensor.model_fields if name != "id"},
        "name": words,
        "kind": st.sampled_from([one.value for one in Kind]) | anything,
        "status": st.just("given") | anything,
        "bands": st.lists(bands | anything, max_size=3),
        "products": st.lists(products | anything, max_size=2),
        "statistics": st.lists(statistics | anything, max_size=2),
        "extends": words,
        "spectrum": st.dictionaries(st.sampled_from(["center_um", "fwhm_um", "id", "prefix", "first"]), anything),
        "band_defaults": bands | anything,
    },
)


def refuse(name: str, child: Path) -> Path:
    raise BadSensorFile(f"{child} extends '{name}', which is no sensor.")


def judged(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_bytes(data)
        message = ""
        try:
            assert isinstance(read_sensor_file(path, refuse), SensorFile)
        except (BadSensorFile, UnknownSensor) as error:
            message = str(error)
        assert not message or str(path) in message


@given(contents)
def test_any_content(content):
    judged(to_toml(content).encode())


@given(st.binary(max_size=300))
def test_any_bytes(data):
    judged(data)


@given(st.integers(0, 400), st.binary(max_size=4))
def test_a_file_cut_or_overwritten_anywhere(at, noise):
    whole = (
        Path(__file__)
        .parents[2]
        .joinpath("sensors", "land", "landsat7.toml")
        .read_bytes()
        .replace(b"landsat7", b"mine")
    )
    judged(whole[:at])
    judged(whole[:at] + noise + whole[at + len(noise) :])
