"""Write ``docs/sensors.md`` and its picture from the built-in sensors, and the JSON Schema of sensor files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dofa_cli.pipelines.plot_sensors import plot_sensors
from dofa_cli.resources import data_folder
from dofa_cli.sensors.registry import built_in
from dofa_cli.sensors.schema import Sensor
from dofa_cli.sensors.showing import schema_json
from dofa_cli.sensors.showing.summary import shipped, summarise

PAGE = Path(__file__).parent / "sensors.md"
PICTURE = PAGE.with_suffix(".png")
SCHEMA = data_folder("sensors") / schema_json.FILE
SHOWN = ("sentinel2", "landsat9", "aster", "modis", "worldview3", "superdove", "rededge-mx", "naip", "enmap", "emit")
HEAD = ("id", "name", "kind", "bands", "centres", "pixel", "products", "status")


def page() -> str:
    """Return the page that the built-in sensors give."""
    return "\n".join([*_introduction(), *_sections()])


def _introduction() -> Iterator[str]:
    count = sum(map(len, shipped().values()))
    yield f"""# Built-in sensors

`--sensor` takes any of these {count} ids, or another name of the instrument; case and punctuation do not matter.
`dofa sensors list` prints this list, `dofa sensors list landsat` a part of it, and `dofa sensors show ID` all that is
known of one: each band's centre, width and source, products with scale, offset and nodata, and statistics of training.
The [data folder](../sensors/README.md) says where the numbers come from and what the statuses mean.

Yours is not here? [Add your sensor](add-your-sensor.md). One with the id of a built-in sensor takes its place. Editors
that know JSON Schema complete and check sensor files with [sensor.schema.json](../sensors/sensor.schema.json).

![Bands of ten sensors as bars over the wavelength](sensors.png)

Drawn by `dofa sensors plot {" ".join(SHOWN)} -o sensors.png`; names of bands without room are left out.
"""


def _sections() -> Iterator[str]:
    for folder, sensors in shipped().items():
        yield f"## {_title(folder)}\n"
        yield _table(sensors)


def _title(folder: str) -> str:
    return "Others" if folder == "." else folder.replace("-", " and ").replace("/", ", ").capitalize()


def _table(sensors: Sequence[Sensor]) -> str:
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_cells(sensor)) for sensor in sensors)]
    return "\n".join(lines) + "\n"


def _cells(sensor: Sensor) -> tuple[str, ...]:
    one = summarise(sensor)
    products = ", ".join(f"`{product}`" for product in one.products)
    status = one.status.replace("_", " ")
    return f"`{one.id}`", one.name, one.kind, str(one.bands), one.span, one.pixel, products, status


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema_json.to_text(), encoding="utf-8")
    plot_sensors([built_in(name) for name in SHOWN], PICTURE, overwrite=True)
    print(PAGE, SCHEMA, PICTURE, sep="\n")
