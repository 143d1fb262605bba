"""A mosaic as a virtual raster: an XML file that names its sheets, for any number of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from dofa_cli.classes import ClassTable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.mosaic import Mosaic, Overlap, Sheet
from dofa_cli.raster.style_files import class_elements
from dofa_cli.raster.writer import OPAQUE, RasterSpec, explained, working_file

MOST_ELEMENTS = 500_000
"""Sheets × bands beyond which programs would take minutes to open the file."""
_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "float16": "Float16",
    "float32": "Float32",
    "float64": "Float64",
}


def write_vrt(path: Path, mosaic: Mosaic) -> None:
    """Write a mosaic of sheets on its own pixels as a virtual raster at ``path``; files are named relative to it.

    The overlap is first or last: GDAL draws sheets one over the other. Raises :class:`OutputUnwritable`.
    """
    with working_file(path) as working, explained(path), working.open("w", encoding="utf-8") as file:
        for line in _lines(path, mosaic):
            print(line, file=file)


def class_lines(classes: ClassTable) -> str:
    """Return colours, names and attribute table of classes as a virtual raster's band holds them."""
    colours = dict(zip(classes.values, classes.colours, strict=True))
    entries = (colours.get(value, (0, 0, 0)) for value in range(classes.values[-1] + 1))
    rows = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{OPAQUE}"/>' for r, g, b in entries)
    table = f"<ColorInterp>Palette</ColorInterp><ColorTable>{rows}</ColorTable>" if classes.dtype == "uint8" else ""
    return table + "".join(ElementTree.tostring(one, encoding="unicode") for one in class_elements(classes))


def _lines(path: Path, mosaic: Mosaic) -> Iterator[str]:
    spec = mosaic.spec
    sheets = list(reversed(mosaic.sheets) if mosaic.overlap is Overlap.FIRST else mosaic.sheets)
    grid = spec.grid
    yield f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
    if grid.crs is not None:
        yield f"<SRS>{escape(grid.crs.to_wkt())}</SRS>"
    yield f"<GeoTransform>{', '.join(repr(float(number)) for number in grid.transform.to_gdal())}</GeoTransform>"
    yield "<Metadata>"
    yield from (f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in spec.tags.items())
    yield "</Metadata>"
    named = [(_named(path, sheet), _properties(sheet, mosaic) + _places(sheet)) for sheet in sheets]
    for band in range(spec.bands):
        yield from _head(band, spec, mosaic.classes)
        for sheet, (name, place) in zip(sheets, named, strict=True):
            value = _value(sheet, band, mosaic.nodata)
            yield f"<ComplexSource>{name}<SourceBand>{band + 1}</SourceBand>{place}{value}</ComplexSource>"
        yield "</VRTRasterBand>"
    yield "</VRTDataset>"


def _head(band: int, spec: RasterSpec, classes: ClassTable | None) -> Iterator[str]:
    size = f'blockXSize="{spec.block}" blockYSize="{spec.block}"'
    yield f'<VRTRasterBand dataType="{_TYPES[spec.dtype]}" band="{band + 1}" {size}>'
    yield f"<Description>{escape(spec.descriptions[band] or '')}</Description>"
    yield f"<NoDataValue>{spec.nodata:.17g}</NoDataValue>"
    if spec.unit:
        yield f"<UnitType>{escape(spec.unit)}</UnitType>"
    if spec.scales is not None and spec.offsets is not None:
        yield f"<Offset>{spec.offsets[band]!r}</Offset><Scale>{spec.scales[band]!r}</Scale>"
    if classes is not None:
        yield class_lines(classes)


def _named(path: Path, sheet: Sheet) -> str:
    """Name a sheet's file: relative to the virtual raster where there is such a path."""
    if "://" in sheet.path or sheet.path.startswith("/vsi"):
        return f'<SourceFilename relativeToVRT="0">{escape(sheet.path)}</SourceFilename>'
    absolute, folder = Path(sheet.path).absolute(), path.absolute().parent
    try:
        relative = Path(os.path.relpath(absolute, folder)).as_posix()
    except ValueError:  # on another drive
        return f'<SourceFilename relativeToVRT="0">{escape(str(absolute))}</SourceFilename>'
    return f'<SourceFilename relativeToVRT="1">{escape(relative)}</SourceFilename>'


def _properties(sheet: Sheet, mosaic: Mosaic) -> str:
    """Tell a file's size and type, so that GDAL need not open it before it is read."""
    size = f'RasterXSize="{sheet.grid.width}" RasterYSize="{sheet.grid.height}"'
    block = f'BlockXSize="{mosaic.spec.block}" BlockYSize="{mosaic.spec.block}"'
    return f'<SourceProperties {size} DataType="{_TYPES[str(mosaic.dtype)]}" {block}/>'


def _places(sheet: Sheet) -> str:
    own = Window(0, 0, sheet.grid.height, sheet.grid.width)
    return _rectangle("SrcRect", own) + _rectangle("DstRect", sheet.place)


def _rectangle(name: str, window: Window) -> str:
    return f'<{name} xOff="{window.col}" yOff="{window.row}" xSize="{window.width}" ySize="{window.height}"/>'


def _value(sheet: Sheet, band: int, nodata: float | None) -> str:
    """Return which value counts as none, and how codes become numbers."""
    scale = ""
    if sheet.scales is not None and sheet.offsets is not None:
        offset, ratio = float(sheet.offsets[band]), float(sheet.scales[band])
        scale = f"<ScaleOffset>{offset!r}</ScaleOffset><ScaleRatio>{ratio!r}</ScaleRatio>"
    return scale + ("" if nodata is None else f"<NODATA>{nodata:.17g}</NODATA>")
