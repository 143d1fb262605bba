"""``dofa info``."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import table

if TYPE_CHECKING:
    from dofa_cli.pipelines.info import BandFacts, FileFacts, Report, SceneFacts
    from dofa_cli.pipelines.scenes.results import TableFacts
    from dofa_cli.pipelines.suggest import Suggestion

BLOCKS = " ▁▂▃▄▅▆▇█"
MOST_ROWS = 40
"""Bands shown; of more, a selection is."""
SHOWN_OF_MANY = 16
MOST_GUESSES = 5
WORTH_SHOWING = 0.5
"""Sensors with this share of the likeliest one's evidence are shown; --json has all."""
LONGEST_TEXT = 28
FIELD = 12
"""Width of the names of facts."""
LINE = 100
LISTS = ("bands", "wavelengths_um", "source")
"""Tags that list things, which may be many."""

Files = Annotated[
    list[str],
    typer.Argument(
        help="Rasters or GeoParquet results. Single-band rasters are taken as the bands of one scene.",
        show_default=False,
    ),
]
Sensor = Annotated[
    str | None,
    typer.Option(help="Compare with this sensor, an id or a .toml file, instead of the one it looks like."),
]


def info(files: Files, sensor: Sensor = None, json: options.Json = False) -> None:
    """Tell what files are, which sensor they look like, and whether their values fit it.

    dofa info scene.tif
    """
    from dofa_cli.errors import DamagedRaster
    from dofa_cli.pipelines.info import info as run

    report = run(files, sensor=sensor)
    typer.echo(report.to_json() if json else "\n\n".join(_lines(report)))
    if report.damage:
        raise DamagedRaster(report.damage)


def _lines(report: Report) -> Iterator[str]:
    for scene in report.scenes:
        yield "\n".join(_scene(scene))
    for found in report.tables:
        yield "\n".join(_table(found))


def _scene(scene: SceneFacts) -> Iterator[str]:
    yield from _files(scene)
    yield from _sensor(scene)
    yield ""
    yield _band_table(scene)
    for file in scene.files:
        yield from _made_by(file.made_by)


def _files(scene: SceneFacts) -> Iterator[str]:
    """Write one line a fact; files of a scene that differ in it are counted."""
    first = scene.files[0]
    if len(scene.files) == 1:
        yield _fact("path", first.path)
    else:
        yield _fact("scene", f"{len(scene.files)} files in {PurePath(first.path).parent}")
    facts: tuple[tuple[str, Callable[[FileFacts], str]], ...] = (
        ("format", _format),
        ("size", lambda file: f"{file.height} rows × {file.width} columns, {_count(file.bands, 'band')}"),
        ("type", lambda file: ", ".join(dict.fromkeys(file.dtypes))),
        ("CRS", lambda file: file.crs or "no coordinates"),
        ("pixel", _pixel),
        ("extent", _extent),
        ("nodata", lambda file: _nodata(file, scene.assumed_nodata)),
        ("taken", lambda file: (file.datetime or "unknown").replace("T", " ").replace("+00:00", " UTC")),
    )
    for name, tell in facts:
        yield _fact(name, _counted([tell(file) for file in scene.files]))


def _format(file: FileFacts) -> str:
    overviews = f"overviews {', '.join(map(str, file.overviews))}" if file.overviews else "no overviews"
    block = f"blocks of {file.block[0]} × {file.block[1]}"
    packed = (f"{file.compression} compression",) if file.compression else ()
    return "; ".join((file.driver, *packed, block, overviews))


def _pixel(file: FileFacts) -> str:
    if not file.affine:
        return "on ground control points, RPCs or geolocation arrays; --warp puts it on a grid"
    height, width = file.pixel
    size = f"{width:.6g}" if abs(height / width - 1) < 1e-6 else f"{height:.6g} high, {width:.6g} wide"
    if file.ground_m is None:
        return size
    return f"{size}; on the ground {file.ground_m.height:.4g} m high, {file.ground_m.width:.4g} m wide"


def _extent(file: FileFacts) -> str:
    left, bottom, right, top = file.extent
    return f"x {left:.8g} to {right:.8g}, y {bottom:.8g} to {top:.8g}"


def _nodata(file: FileFacts, assumed: float | None) -> str:
    declared = ", ".join(dict.fromkeys("none" if value is None else f"{value:g}" for value in file.nodata))
    mask = " and a mask or alpha band" if file.mask else ""
    usual = f"; {assumed:g} is taken, as is usual for the sensor" if assumed is not None and None in file.nodata else ""
    return f"{declared}{mask}{usual}"


def _counted(values: Sequence[str]) -> str:
    """Join different values, each with the number of files that have it."""
    different = dict.fromkeys(values)
    if len(different) == 1:
        return values[0]
    return "\n".join(f"{_count(values.count(value), 'file')}: {value}" for value in different)


def _sensor(scene: SceneFacts) -> Iterator[str]:
    if scene.files[0].made_by is not None:
        return
    guesses = [one for one in scene.guesses[:MOST_GUESSES] if one.score >= scene.guesses[0].score * WORTH_SHOWING]
    chosen = next((guess for guess in guesses if guess.sensor == scene.sensor), None)
    others = [guess for guess in guesses if guess is not chosen]
    if chosen:
        yield _fact("sensor", f"{chosen.sensor}, {chosen.name}\n{_evidence(chosen)}")
    elif others:
        yield _fact("sensor", "unknown; it could be one of these. --sensor compares with one.")
    else:
        yield _fact("sensor", "unknown; give --sensor or --wavelengths to work with it.")
    if others:
        yield _fact("also fits" if chosen else "", "\n".join(f"{one.sensor}: {_evidence(one)}" for one in others))
    if scene.product:
        yield _fact("product", _product(scene))


def _evidence(guess: Suggestion) -> str:
    return "; ".join(guess.evidence) or "nothing speaks for it"


def _product(scene: SceneFacts) -> str:
    assert scene.product is not None
    product = scene.product
    if product.id is None:
        return f"values are NOT plausible\n{product.message}" if product.fits is False else product.message
    verdict = "plausible values" if product.fits else "any values are possible"
    return f"{product.id} ({product.quantity}), told {product.message}\n{verdict}"


def _band_table(scene: SceneFacts) -> str:
    shown = _selection(scene.bands)
    columns = [column for column in _columns(scene) if any(column[1](band) for band in shown)]
    rows = [tuple(tell(band) for _, tell in columns) for band in shown]
    lines = [table([head for head, _ in columns], rows)]
    if len(shown) < len(scene.bands):
        lines.append(f"… {len(shown)} of {len(scene.bands)} bands; --json tells all")
    if not any(band.values for band in scene.bands):
        lines.append("no valid pixel in a sample of the file")
    return "\n".join(lines)


def _columns(scene: SceneFacts) -> list[tuple[str, Callable[[BandFacts], str]]]:
    several = len(scene.files) > 1
    return [
        ("file" if several else "band", lambda band: band.file if several else str(band.index)),
        ("description", lambda band: _short(band.description or "")),
        ("colour", lambda band: band.colour or ""),
        ("µm", lambda band: f"{band.wavelength_um:.4g}" if band.wavelength_um else ""),
        (scene.sensor or "sensor", lambda band: band.sensor_band or ""),
        ("scale", lambda band: "" if (band.scale, band.offset) == (1, 0) else f"{band.scale:.4g}·x {band.offset:+.4g}"),
        ("valid", lambda band: f"{band.values.valid_share:.0%}" if band.values else ""),
        *((name, _statistic(field)) for name, field in _STATISTICS),
        ("histogram, 1 % to 99 %", lambda band: bars(band.values.counts) if band.values else ""),
        ("as reflectance", _as_reflectance),
    ]


_STATISTICS = (("min", "minimum"), ("1 %", "low"), ("median", "median"), ("99 %", "high"), ("max", "maximum"))


def _statistic(field: str) -> Callable[[BandFacts], str]:
    return lambda band: _number(getattr(band.values, field)) if band.values else ""


def _as_reflectance(band: BandFacts) -> str:
    return f"{band.physical[0]:.3f} to {band.physical[2]:.3f}" if band.physical else ""


def bars(counts: Sequence[int]) -> str:
    """Draw counts as blocks; the highest is full, and what is not 0 is never blank."""
    most = max(counts) or 1
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // most)] for count in counts)


def _selection(bands: Sequence[BandFacts]) -> Sequence[BandFacts]:
    """Return all bands; or of many, the sampled ones or evenly spaced ones."""
    if len(bands) <= MOST_ROWS:
        return bands
    sampled = [band for band in bands if band.values] or bands
    steps = min(SHOWN_OF_MANY, len(sampled)) - 1
    return [sampled[round(at * (len(sampled) - 1) / steps)] for at in range(steps + 1)]


def _table(found: TableFacts) -> Iterator[str]:
    yield _fact("path", found.path)
    yield _fact("format", "GeoParquet")
    yield _fact("rows", f"{found.rows:,} embeddings of {found.dimensions or 'unknown'} dimensions")
    yield _fact("columns", "\n".join(wrap(", ".join(found.columns), LINE)))
    yield _fact("CRS", found.crs or "no coordinates")
    if found.extent:
        left, bottom, right, top = found.extent
        yield _fact("extent", f"x {left:.8g} to {right:.8g}, y {bottom:.8g} to {top:.8g}")
    yield from _made_by(found.made_by)


def _made_by(tags: dict[str, Any] | None) -> Iterator[str]:
    """Write the tags of a result, the rule of each band as a table."""
    if tags is None:
        return
    yield f"\nmade by dofa {tags['dofa_version']}"
    for name, value in tags.items():
        if name not in ("dofa_version", "normalization"):
            shown = wrap(value.replace(",", ", "), LINE) if name in LISTS else [_plain(value)]
            yield _fact(name, "\n".join(shown), width=16)
    if rules := tags.get("normalization"):
        yield "\n" + _rules(rules)


def _rules(rules: Sequence[dict[str, Any]]) -> str:
    head = ("band", "µm", "training scale", "mean", "std", "statistics")
    fields = ("band", "wavelength_um", "scale", "mean", "std", "origin")
    return table(head, [tuple(_plain(rule.get(field, "")) for field in fields) for rule in rules[:MOST_ROWS]])


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return jsonlib.dumps(value) if isinstance(value, list) else str(value)


def _fact(name: str, value: str, width: int = FIELD) -> str:
    """Put a name before lines of text that hang under each other."""
    return (name.ljust(width) + value.replace("\n", "\n" + " " * width)).rstrip()


def _number(value: float) -> str:
    """Write four digits, and whole numbers below ten million in full."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
