"""Read what a text file says of a sensor's bands: a STAC document, a table, an ENVI header, or spectral responses."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from dofa_cli.errors import BadSensorFile, SceneNotFound
from dofa_cli.sensors.making.found import Found, clean
from dofa_cli.sensors.making.import_envi import from_envi
from dofa_cli.sensors.making.import_srf import from_responses
from dofa_cli.sensors.making.import_stac import from_stac, is_stac
from dofa_cli.sensors.making.import_table import from_columns
from dofa_cli.sensors.making.tables import columns_of, rows_of

LARGEST_TEXT = 16 * 2**20
"""Bytes; descriptions of bands are kilobytes, spectral responses a few megabytes."""
JSON, TABLE, ENVI = (".json", ".geojson"), (".csv", ".tsv", ".txt"), (".hdr",)


def is_text(path: Path) -> bool:
    """Whether a file is one that :func:`read_source` reads, rather than a raster."""
    return path.suffix.lower() in (*JSON, *TABLE, *ENVI)


def read_source(path: Path) -> Found:
    """Return the bands that a ``.json``, ``.csv``, ``.tsv``, ``.txt`` or ``.hdr`` file describes.

    Raises :class:`SceneNotFound`, :class:`BadSensorFile` for what cannot be understood, and
    :class:`~dofa_cli.errors.BadWavelengths` for wavelengths that cannot be, or are missing.
    """
    suffix, origin = path.suffix.lower(), clean(path.name)
    if suffix in ENVI:
        return from_envi(read_text(path, errors="replace"), origin)
    text = read_text(path)
    if suffix in TABLE:
        return from_columns(rows_of(text, origin), origin)
    content = _json(text, origin)
    return from_stac(content, origin) if is_stac(content) else from_columns(columns_of(content, origin), origin)


def read_responses(path: Path) -> Found:
    """Return the bands of a table of spectral responses.

    :func:`~dofa_cli.sensors.making.import_srf.from_responses` says how they are computed.

    Raises the errors of :func:`read_source`.
    """
    origin = clean(path.name)
    return from_responses(rows_of(read_text(path), origin), origin)


def read_text(path: Path, errors: str = "strict") -> str:
    """Return a text file's content, UTF-8 or UTF-16 with its mark."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except FileNotFoundError:
        raise SceneNotFound(f"No such file: {clean(str(path))}.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise BadSensorFile(f"{clean(str(path))} cannot be read: {reason}.") from None
    if len(content) > LARGEST_TEXT:
        raise BadSensorFile(
            f"{clean(str(path))} is larger than {LARGEST_TEXT // 2**20} MB, so it is no description of bands."
        )
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding, errors)
    except UnicodeDecodeError:
        raise BadSensorFile(f"{clean(str(path))} is not UTF-8 text. Save it as UTF-8.") from None


def _json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise BadSensorFile(f"{origin} is nested too deeply to be a description of bands.") from None
    except ValueError as error:  # also for numbers of thousands of digits
        raise BadSensorFile(f"{origin} is not JSON: {error}.") from None
