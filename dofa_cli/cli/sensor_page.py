"""The text of ``dofa sensors show``: facts, bands, products and statistics of one sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from dofa_cli.cli.show import table

if TYPE_CHECKING:
    from dofa_cli.sensors.registry import Entry
    from dofa_cli.sensors.schema import Band, Product, Sensor, Statistics

MOST_ROWS = 40
"""Bands shown; of more, the first and last are."""
SHOWN_AT_AN_END = 6
MOST_NAMES = 30
FIELD = 18
LINE = 110

Column = tuple[str, Callable[["Band"], str]]


def page(known: Entry, *, everything: bool) -> str:
    """Write all about a sensor; with ``everything``, every one of many bands."""
    parts = [
        "\n".join(_facts(known)),
        _bands(known, everything=everything),
        "\n".join(_products(known.sensor)),
        *("\n".join(_statistics(known.sensor, one, everything=everything)) for one in known.sensor.statistics),
    ]
    return "\n\n".join(parts)


def _facts(known: Entry) -> Iterator[str]:
    from dofa_cli.sensors.showing.description import inherited

    sensor = known.sensor
    facts = {
        "id": sensor.id,
        "name": sensor.name,
        "kind": sensor.kind.value,
        "status": sensor.status.value,
        "platforms": ", ".join(sensor.platforms),
        "also called": ", ".join(sensor.aliases),
        "layer": known.layer,
        "file": str(known.file.path.absolute()),
        "extends": "\n".join(str(path.absolute()) for path in known.file.lineage[1:]),
        "inherits": "\n".join(f"{', '.join(fields)} from {file}" for file, fields in inherited(known).items()),
        "hides": "\n".join(str(path.absolute()) for path in known.hidden),
        "default bands": "\n".join(_defaults(sensor)),
        "presets": "\n".join(f"{name}: {_names(ids)}" for name, ids in sensor.presets.items()),
        "stack orders": "\n".join(_names(ids) for ids in sensor.stack_orders),
        "wavelengths": "those that a file states are used where there are any" if sensor.wavelengths_vary else "",
        "note": sensor.note or "",
        "sources": "\n".join(sensor.sources),
    }
    return (_fact(name, text) for name, text in facts.items() if text)


def _defaults(sensor: Sensor) -> Iterator[str]:
    """Write the default bands of each weights family, once if they are the same."""
    from dofa_cli.sensors.showing.description import FAMILIES

    chosen = {family: sensor.default_bands(family) for family in FAMILIES}
    for bands in dict.fromkeys(chosen.values()):
        families = ", ".join(family for family, theirs in chosen.items() if theirs == bands)
        preset = sensor.default.get(families.split(", ")[0], "all bands")
        yield f"{preset} ({families}): {_names(bands)}"


def _bands(known: Entry, *, everything: bool) -> str:
    shown, left_out = _ends(known.sensor.bands, everything=everything)
    columns = [column for column in _columns(known) if any(column[1](band) for band in shown)]
    rows = [tuple(tell(band) for _, tell in columns) for band in shown]
    lines = table([head for head, _ in columns], rows).splitlines()
    return "\n".join([*_with_gap(lines, left_out), *_sources(known.sensor)])


def _columns(known: Entry) -> list[Column]:
    from dofa_cli.sensors.showing.description import files_of_band

    def origin(band: Band) -> str:
        found = files_of_band(known, band.id) if len(known.file.lineage) > 1 else {}
        if len(found) == 1:
            return next(iter(found))
        return "; ".join(f"{', '.join(fields)} {file}" for file, fields in found.items())

    return [
        ("BAND", lambda band: band.id),
        ("NAME", lambda band: band.common_name or band.polarisation or ""),
        ("CENTRE µm", lambda band: _number(band.center_um)),
        ("FWHM µm", lambda band: _number(band.fwhm_um)),
        ("GHz", lambda band: _number(band.frequency_ghz)),
        ("GSD m", lambda band: _number(band.gsd_m)),
        ("v1 µm", lambda band: _number(band.wavelength_um("dofa_v1"))),
        ("v2 µm", lambda band: _number(band.wavelength_um("dofa_v2"))),
        ("STATUS", lambda band: (band.status or known.sensor.status).value),
        ("NUMBERS FROM", origin),
        ("ALSO CALLED", lambda band: ", ".join(band.aliases)),
    ]


def _sources(sensor: Sensor) -> Iterator[str]:
    """Name the sources of centres and widths, each with its bands."""
    found: dict[str, list[str]] = {}
    for band in sensor.bands:
        if band.source:
            found.setdefault(band.source, []).append(band.id)
    for source, bands in found.items():
        whose = "all bands" if len(bands) == len(sensor.bands) else _names(bands)
        yield _fact("numbers from", f"{source} ({whose})")


def _products(sensor: Sensor) -> Iterator[str]:
    head = ("PRODUCT", "QUANTITY", "LEVEL", "TYPE", "SCALE", "OFFSET", "NODATA", "TOLD BY")
    rows = [
        (
            product.id,
            product.quantity.value + (f" (255 = {product.white:g})" if product.white else ""),
            product.level or "",
            product.dtype or ("uint8" if product.eight_bit else ""),
            _number(product.scale),
            _number(product.offset),
            _number(product.nodata),
            _told_by(product, sensor),
        )
        for product in sensor.products
    ]
    yield table(head, rows)
    for product in sensor.products:
        if remarks := [remark for remark in (product.offset_rule, product.note) if remark]:
            yield _fact(product.id, "; ".join(remarks))


def _told_by(product: Product, sensor: Sensor) -> str:
    clues = [
        *(["name"] if product.pattern else []),
        *(["values"] if not product.named_only else []),
        *(["taken when several fit"] if product.id == sensor.default_product else []),
    ]
    return ", ".join(clues) or "--product"


def _statistics(sensor: Sensor, stats: Statistics, *, everything: bool) -> Iterator[str]:
    from dofa_cli.sensors.showing.description import rules

    yield _fact("statistics", f"of training with {', '.join(stats.weights)} ({stats.status}; {stats.source})")
    yield _fact("pixel scale", f"{stats.training_scale.value}; of x, the value in the file:")
    for rule in rules(sensor, stats):
        yield _fact("", f"{', '.join(rule.products)}: {rule.formula} for {_names(rule.bands)}")
    if stats.note:
        yield _fact("note", stats.note)
    rows = list(zip(stats.bands, map(_number, stats.mean), map(_number, stats.std), strict=True))
    shown, left_out = _ends(rows, everything=everything)
    yield from _with_gap(table(("BAND", "MEAN", "STD"), shown).splitlines(), left_out)


def _ends(rows: Sequence[Any], *, everything: bool) -> tuple[Sequence[Any], int]:
    """Return the rows, of many the first and last, and how many are left out between them."""
    if everything or len(rows) <= MOST_ROWS:
        return rows, 0
    return [*rows[:SHOWN_AT_AN_END], *rows[-SHOWN_AT_AN_END:]], len(rows) - 2 * SHOWN_AT_AN_END


def _with_gap(lines: list[str], left_out: int) -> list[str]:
    """Say in the middle of a table what is left out."""
    at = 1 + SHOWN_AT_AN_END
    return [*lines[:at], f"… {left_out} more; --all shows them", *lines[at:]] if left_out else lines


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= MOST_NAMES else f"{len(ids)} bands, {ids[0]} to {ids[-1]}"


def _fact(name: str, text: str) -> str:
    """Put a name before lines of text that hang under each other."""
    blank = " " * FIELD
    lines = [
        fill(line, LINE, initial_indent=blank, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    ]
    return f"{name} ".ljust(FIELD) + "\n".join(lines)[FIELD:]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.7g}"
