"""Names and colours beside a class raster come back through GDAL, and the QGIS style lists every class."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dofa_cli.classes import ClassTable
from dofa_cli.errors import OutputUnwritable
from dofa_cli.raster.source import close_handles
from dofa_cli.raster.style import read_style
from dofa_cli.raster.style_files import write_style
from tests.made import write_raster

AWKWARD = ClassTable.of(
    [0, 2, 7, 40],
    {0: "Grünland & Weide", 2: "<\"maize\"> 'x'", 7: "裸地, sand; 50 %", 40: "line\nbreak"},
    {2: (255, 0, 10)},
)


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "map.tif", np.zeros((1, 20, 30), np.uint8))


def palette(raster: Path) -> list[ElementTree.Element]:
    root = ElementTree.parse(raster.with_suffix(".qml")).getroot()
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    return renderer.findall("colorPalette/paletteEntry")


def test_names_and_colours_come_back_through_gdal(raster):
    assert write_style(raster, AWKWARD) == (raster.with_name("map.tif.aux.xml"), raster.with_name("map.qml"))
    style = read_style(str(raster))
    assert style.names == dict(zip(AWKWARD.values, (*AWKWARD.names[:3], "line break"), strict=True))
    assert style.colours == dict(zip(AWKWARD.values, AWKWARD.colours, strict=True))


def test_category_names_count_from_0_to_the_largest_value(raster):
    write_style(raster, AWKWARD)
    root = ElementTree.parse(raster.with_name("map.tif.aux.xml")).getroot()
    names = [one.text or "" for one in root.findall("PAMRasterBand/CategoryNames/Category")]
    assert len(names) == 41
    assert {at for at, name in enumerate(names) if name} == {0, 2, 7, 40}


def test_the_qgis_style_lists_every_class_with_its_colour(raster):
    write_style(raster, AWKWARD)
    entries = palette(raster)
    assert [int(entry.get("value", "")) for entry in entries] == list(AWKWARD.values)
    assert [entry.get("label") for entry in entries] == [*AWKWARD.names[:3], "line break"]
    assert entries[1].get("color") == "#ff000a"


def test_large_values_have_an_attribute_table_and_no_list_of_names(tmp_path):
    raster = write_raster(tmp_path / "map.tif", np.zeros((1, 20, 30), np.uint16))
    classes = ClassTable.of([3, 9000], {9000: "rare"})
    write_style(raster, classes)
    assert "CategoryNames" not in raster.with_name("map.tif.aux.xml").read_text()
    style = read_style(str(raster))
    assert style.names == {3: "3", 9000: "rare"}
    assert style.colours == dict(zip(classes.values, classes.colours, strict=True))


def test_what_else_a_sidecar_holds_stays(raster):
    with rasterio.open(raster, "r+") as file:
        file.update_tags(1, ns="mine", kept="yes")
    raster.with_name("map.tif.aux.xml").write_text(
        '<PAMDataset><Metadata><MDI key="said">before</MDI></Metadata><PAMRasterBand band="1">'
        "<Description>classes</Description><CategoryNames><Category>old</Category></CategoryNames>"
        "</PAMRasterBand></PAMDataset>"
    )
    write_style(raster, AWKWARD)
    write_style(raster, AWKWARD)
    with rasterio.open(raster) as file:
        assert file.tags()["said"] == "before"
        assert file.descriptions == ("classes",)
    assert "old" not in read_style(str(raster)).names.values()
    root = ElementTree.parse(raster.with_name("map.tif.aux.xml")).getroot()
    assert len(root.findall("PAMRasterBand/CategoryNames")) == 1


@pytest.mark.parametrize("content", ["", "<broken", "<Other/>"])
def test_a_sidecar_that_is_none_is_replaced(raster, content):
    raster.with_name("map.tif.aux.xml").write_text(content)
    write_style(raster, AWKWARD)
    assert read_style(str(raster)).names[2] == "<\"maize\"> 'x'"


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_any_name_makes_files_that_parse(raster, names):
    write_style(raster, ClassTable.named(names))
    assert len(palette(raster)) == len(names)
    assert set(read_style(str(raster)).names) <= set(range(1, len(names) + 1))
    close_handles()


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(OutputUnwritable, match="map"):
        write_style(tmp_path / "no" / "map.tif", AWKWARD)
