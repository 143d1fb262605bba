"""Names and colours of classes beside a raster, as GDAL, QGIS and ArcGIS read them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from dofa_cli.classes import ClassTable
from dofa_cli.raster.writer import explained, working_file

VALUE_COLUMN = "value"
"""Column of polygons that holds the class."""
LAST_CATEGORY = 255
"""Category names are a list from 0; above this value they would be mostly empty."""
_INTEGER, _STRING = "0", "2"
_COLUMNS = (
    ("Value", _INTEGER, "5"),
    ("Class", _STRING, "2"),
    ("Red", _INTEGER, "6"),
    ("Green", _INTEGER, "7"),
    ("Blue", _INTEGER, "8"),
)
"""Columns of the attribute table: name, GDAL's number of the type, and of the use."""
_OWN = ("CategoryNames", "GDALRasterAttributeTable")
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def style_files(raster: Path) -> tuple[Path, Path]:
    """Return the names of a raster's style files: ``x.tif.aux.xml`` and ``x.qml``."""
    return raster.with_name(f"{raster.name}.aux.xml"), raster.with_suffix(".qml")


def write_qgis_style(raster: Path, classes: ClassTable) -> Path:
    """Write a QGIS style with one colour a class beside a raster, or polygons; raises as :func:`write_style` does."""
    path = style_files(raster)[1]
    _write(path, _qgis_style(classes), _DOCTYPE)
    return path


def write_style(raster: Path, classes: ClassTable) -> tuple[Path, Path]:
    """Write names and colours of ``classes`` beside a class raster; the colour table in the file is not touched.

    ``x.tif.aux.xml`` holds GDAL's category names and attribute table; what else stands in it stays. ``x.qml`` is a
    QGIS style with one colour a class. Raises :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    sidecar = style_files(raster)[0]
    _write(sidecar, _described(sidecar, classes), "")
    return sidecar, write_qgis_style(raster, classes)


def class_elements(classes: ClassTable) -> list[Element]:
    """Return what GDAL's XML files hold of classes in a band: category names, where they fit, and attribute table."""
    fits = classes.values and classes.values[-1] <= LAST_CATEGORY
    return [*([_category_names(classes)] if fits else []), _attribute_table(classes)]


def _described(sidecar: Path, classes: ClassTable) -> Element:
    """Return the contents of an ``.aux.xml`` with names and attribute table of band 1."""
    root = _existing(sidecar)
    band = next((one for one in root.findall("PAMRasterBand") if one.get("band") == "1"), None)
    if band is None:
        band = SubElement(root, "PAMRasterBand", band="1")
    for old in [child for child in band if child.tag in _OWN]:
        band.remove(old)
    band.extend(class_elements(classes))
    return root


def _write(path: Path, root: Element, start: str) -> None:
    ElementTree.indent(root)
    with working_file(path) as working, explained(path):
        working.write_text(start + ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")


def _existing(sidecar: Path) -> Element:
    if sidecar.exists():
        try:
            root = ElementTree.parse(sidecar).getroot()  # noqa: S314 - the user's own file, as GDAL reads it
        except ElementTree.ParseError:
            return Element("PAMDataset")
        if root.tag == "PAMDataset":
            return root
    return Element("PAMDataset")


def _category_names(classes: ClassTable) -> Element:
    names = dict(zip(classes.values, classes.names, strict=True))
    categories = Element("CategoryNames")
    for value in range(classes.values[-1] + 1):
        SubElement(categories, "Category").text = _printable(names.get(value, ""))
    return categories


def _attribute_table(classes: ClassTable) -> Element:
    table = Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            SubElement(column, tag).text = text
    for index, (value, name, colour) in enumerate(zip(classes.values, classes.names, classes.colours, strict=True)):
        row = SubElement(table, "Row", index=str(index))
        for cell in (str(value), _printable(name), *map(str, colour)):
            SubElement(row, "F").text = cell
    return table


def _qgis_style(classes: ClassTable) -> Element:
    """Return a style of pixels and of polygons, so that it serves a raster and a vector file of the same name."""
    root = Element("qgis", version="3.22.0", styleCategories="Symbology", hasScaleBasedVisibilityFlag="0")
    _style_pixels(root, classes)
    _style_polygons(root, classes)
    SubElement(root, "blendMode").text = "0"
    return root


def _style_pixels(root: Element, classes: ClassTable) -> None:
    pipe = SubElement(root, "pipe")
    provider = SubElement(pipe, "provider")
    nearest = {"zoomedInResamplingMethod": "nearestNeighbour", "zoomedOutResamplingMethod": "nearestNeighbour"}
    SubElement(provider, "resampling", {"enabled": "false", "maxOversampling": "2", **nearest})
    renderer = SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    renderer.set("nodataColor", "")
    SubElement(renderer, "rasterTransparency")
    palette = SubElement(renderer, "colorPalette")
    for value, name, (red, green, blue) in zip(classes.values, classes.names, classes.colours, strict=True):
        entry = {"value": str(value), "color": f"#{red:02x}{green:02x}{blue:02x}", "alpha": "255"}
        SubElement(palette, "paletteEntry", entry, label=_printable(name))
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")


def _style_polygons(root: Element, classes: ClassTable) -> None:
    """Fill polygons with the colour of their column ``value``; a thin line of that colour closes gaps on the screen."""
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=VALUE_COLUMN, symbollevels="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    rows = zip(classes.values, classes.names, classes.colours, strict=True)
    for index, (value, name, (red, green, blue)) in enumerate(rows):
        entry = {"value": str(value), "type": "integer", "symbol": str(index), "render": "true"}
        SubElement(categories, "category", entry, label=_printable(name))
        symbol = SubElement(symbols, "symbol", type="fill", name=str(index), alpha="1", clip_to_extent="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
        colour = f"{red},{green},{blue},255"
        for key, text in (("color", colour), ("style", "solid"), ("outline_color", colour), ("outline_width", "0.1")):
            SubElement(layer, "prop", k=key, v=text)


def _printable(name: str) -> str:
    """Leave out control characters, which XML cannot hold."""
    return "".join(sign if sign.isprintable() else " " for sign in name)
