"""How a class raster is meant to look: its colour table and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from dofa_cli.raster.zarr_places import is_zarr

Rgb = tuple[int, int, int]
_VALUE, _NAME, _RED, _GREEN, _BLUE = "5", "2", "6", "7", "8"
"""GDAL's numbers for what a column of a raster attribute table is used for."""


@dataclass(frozen=True)
class ClassStyle:
    """Colours (0 to 255) and names by class value; both are empty where the file has none."""

    colours: dict[int, Rgb]
    names: dict[int, str]

    @property
    def is_empty(self) -> bool:
        """Whether the file says nothing of classes."""
        return not (self.colours or self.names)


def read_style(path: str) -> ClassStyle:
    """Read colour table, category names and attribute table of a file's first band, wherever GDAL keeps them."""
    if is_zarr(path):
        from dofa_cli.raster.zarr_raster import open_raster  # which gives styles of this module

        with open_raster(path) as file:
            if isinstance(found := getattr(file, "style", None), ClassStyle):
                return found
    band = _described(path).find("VRTRasterBand")
    assert band is not None, "a raster has a band"
    rows = _attributes(band)
    names = {at: name.text for at, name in enumerate(band.findall("CategoryNames/Category")) if name.text}
    names |= {int(float(row[_VALUE])): row[_NAME] for row in rows if row.keys() >= {_VALUE, _NAME} and row[_NAME]}
    colours = {at: _rgb(entry) for at, entry in enumerate(band.findall("ColorTable/Entry"))}
    if not colours:
        colours = {
            int(float(row[_VALUE])): _table_rgb(row) for row in rows if row.keys() >= {_VALUE, _RED, _GREEN, _BLUE}
        }
    return ClassStyle(colours, names)


def _described(path: str) -> ElementTree.Element:
    """Let GDAL write all it knows of a file as a virtual raster: rasterio has no call for category names."""
    with MemoryFile(ext=".vrt") as virtual:
        rasterio.shutil.copy(path, virtual.name, driver="VRT")
        return ElementTree.fromstring(virtual.read())  # noqa: S314 - written by GDAL just now


def _rgb(entry: ElementTree.Element) -> Rgb:
    red, green, blue = (int(entry.get(name, "0")) for name in ("c1", "c2", "c3"))
    return red, green, blue


def _attributes(band: ElementTree.Element) -> list[dict[str, str]]:
    """Return the rows of an attribute table, as text by what the column is used for."""
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return []
    uses = [column.findtext("Usage", "") for column in table.findall("FieldDefn")]
    rows = ([cell.text or "" for cell in row.findall("F")] for row in table.findall("Row"))
    return [dict(zip(uses, row, strict=True)) for row in rows]


def _table_rgb(row: dict[str, str]) -> Rgb:
    red, green, blue = (int(float(row[use])) for use in (_RED, _GREEN, _BLUE))
    return red, green, blue
