"""Small SAFE products with real field names, nesting and file formats, written after ESA's published specifications."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SIDE_M = 960
EMPTY_M = 120
"""Pixels of the first 120 m of rows and columns hold no data."""
TILE, TAKEN = "T33UUU", "20230823T095559"
L1C_METRES = dict(zip(BANDS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20), strict=True))
L2A_FOLDERS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL"),
    60: ("B01", "B02", "B04", "B09", "SCL"),
}


@dataclass(frozen=True)
class Level:
    """A Sentinel-2 product to write: ``offset`` in digital numbers, ``None`` for metadata without a list of them."""

    name: str = "L2A"
    baseline: str = "05.09"
    offset: int | None = -1000
    quantification: int = 10000
    schema: str = "psd-14"

    @property
    def product(self) -> str:
        """The folder's name."""
        return f"S2B_MSI{self.name}_{TAKEN}_N{self.baseline.replace('.', '')}_R122_{TILE}_20230823T124759.SAFE"

    @property
    def granule(self) -> str:
        """The tile's folder, relative to the product."""
        return f"GRANULE/{self.name}_{TILE}_A033753_20230823T095553"

    @property
    def images(self) -> dict[str, tuple[str, int]]:
        """Band and pixel size in metres of each image, by its path relative to the product, without suffix."""
        place = f"{self.granule}/IMG_DATA"
        if self.name == "L1C":
            return {f"{place}/{TILE}_{TAKEN}_{band}": (band, metres) for band, metres in L1C_METRES.items()}
        return {
            f"{place}/R{metres}m/{TILE}_{TAKEN}_{band}_{metres}m": (band, metres)
            for metres, bands in L2A_FOLDERS.items()
            for band in bands
        }


L1C_OLD, L1C_NEW = Level("L1C", "02.04", None), Level("L1C", "04.00")
L2A_OLD, L2A_NEW = Level("L2A", "02.14", None), Level("L2A", "05.09")


def digital_number(band: str, level: Level) -> int:
    """Return the number that a band holds wherever there are data: its reflectance is the same in every product."""
    reflectance = 1200 + 100 * BANDS.index(band)  # in 1/10000
    return reflectance * level.quantification // 10000 - (level.offset or 0)


def write_sentinel2(folder: Path, level: Level) -> Path:
    """Write a SAFE product below ``folder``; the product's folder."""
    product = folder / level.product
    for place, (band, metres) in level.images.items():
        write_jp2(product / f"{place}.jp2", classes(metres) if band == "SCL" else numbers(band, metres, level), metres)
    write_jp2(product / level.granule / "QI_DATA" / "MSK_QUALIT_B02.jp2", classes(10), 10)
    write_jp2(product / level.granule / "IMG_DATA" / f"{TILE}_{TAKEN}_TCI.jp2", classes(10), 10)
    (product / level.granule / "MTD_TL.xml").write_text(
        f'<n1:Level-{level.name[1:]}_Tile_ID xmlns:n1="{level.schema}"/>'
    )
    (product / metadata_name(level)).write_text(sentinel2_metadata(level), encoding="utf-8")
    (product / "manifest.safe").write_text('<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1"/>')
    return product


def metadata_name(level: Level) -> str:
    """Return the name of the product's metadata file."""
    return f"MTD_MSI{level.name}.xml"


def numbers(band: str, metres: int, level: Level) -> np.ndarray:
    """Digital numbers of a band (height, width), uint16: one value, and 0 where there are no data."""
    values = np.full((SIDE_M // metres, SIDE_M // metres), digital_number(band, level), np.uint16)
    values[: EMPTY_M // metres, : EMPTY_M // metres] = 0
    return values


def classes(metres: int) -> np.ndarray:
    """A scene classification (height, width), uint8: vegetation, no data first and a cloud in the last 120 m."""
    values = np.full((SIDE_M // metres, SIDE_M // metres), 4, np.uint8)
    values[: EMPTY_M // metres, : EMPTY_M // metres] = 0
    values[-(EMPTY_M // metres) :, -(EMPTY_M // metres) :] = 9
    return values


def write_jp2(path: Path, values: np.ndarray, metres: int) -> None:
    """Write (height, width) as lossless JPEG 2000 in UTM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    shape = {"count": 1, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32633", "transform": Affine(metres, 0, 300000, 0, -metres, 5800020)}
    with rasterio.open(path, "w", driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", **shape, **place) as file:
        file.write(values, 1)


def sentinel2_metadata(level: Level) -> str:
    """Return the text of the product's metadata file."""
    images = "".join(f"<IMAGE_FILE>{place}</IMAGE_FILE>" for place in level.images)
    number = level.name[1:]
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{number}_User_Product xmlns:n1="https://{level.schema}.sentinel2.eo.esa.int/PSD/User_Product_Level-{number}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-08-23T09:55:59.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{level.product}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{number}</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{level.baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2B_20230823T095559_033753_N{level.baseline}">
        <SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>
      </Datatake>
      <Product_Organisation><Granule_List>
        <Granule granuleIdentifier="S2B_OPER_MSI_{level.name}_TL_2BPS_{TAKEN}_A033753_{TILE}" imageFormat="JPEG2000">
          {images}
        </Granule>
      </Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {_radiometry(level)}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{number}_User_Product>
"""


def _radiometry(level: Level) -> str:
    offset = range(len(BANDS)) if level.offset is not None else ()
    if level.name == "L1C":
        listed = "".join(f'<RADIO_ADD_OFFSET band_id="{n}">{level.offset}</RADIO_ADD_OFFSET>' for n in offset)
        offsets = f"<Radiometric_Offset_List>{listed}</Radiometric_Offset_List>" if listed else ""
        return f'<QUANTIFICATION_VALUE unit="none">{level.quantification}</QUANTIFICATION_VALUE>{offsets}'
    listed = "".join(f'<BOA_ADD_OFFSET band_id="{n}">{level.offset}</BOA_ADD_OFFSET>' for n in offset)
    offsets = f"<BOA_ADD_OFFSET_VALUES_LIST>{listed}</BOA_ADD_OFFSET_VALUES_LIST>" if listed else ""
    return f"""<QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">{level.quantification}</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>{offsets}"""


def zipped(product: Path, archive: Path, top: str | None = None, separator: str = "/") -> Path:
    """Pack a product; ``top`` is the folder that its files stand in (the product's name), "" for none."""
    top = f"{product.name}/" if top is None else top
    with zipfile.ZipFile(archive, "w") as file:
        for member in sorted(product.rglob("*")):
            if member.is_file():
                entry = zipfile.ZipInfo()
                entry.filename = (top + member.relative_to(product).as_posix()).replace("/", separator)
                file.writestr(entry, member.read_bytes())
    return archive


SENTINEL1 = "S1A_IW_{type}_1SDV_20150705T064241_20150705T064306_006672_008EA0_24EE.SAFE"
AMPLITUDE = {"vv": 321, "vh": 123}


def write_sentinel1(
    folder: Path, kind: str = "GRD", polarisations: Sequence[str] = ("vv", "vh"), cog: str = ""
) -> Path:
    """Write a Sentinel-1 product below ``folder``; the product's folder. ``cog`` ends the images' names."""
    product = folder / SENTINEL1.format(type={"GRD": "GRDH"}.get(kind, f"{kind}_"))
    product.mkdir(parents=True)
    names = {}
    for number, polarisation in enumerate(polarisations, 1):
        swath = "iw" if kind == "GRD" else "iw1"
        stem = (
            f"s1a-{swath}-{kind.lower()}-{polarisation}-20150705t064241-20150705t064306-006672-008ea0-00{number}{cog}"
        )
        names[polarisation] = f"measurement/{stem}.tiff"
        write_amplitude(product / names[polarisation], AMPLITUDE[polarisation], kind)
    (product / "manifest.safe").write_text(sentinel1_manifest(kind, names), encoding="utf-8")
    return product


def write_amplitude(path: Path, value: int, kind: str) -> None:
    """Write a radar image on ground control points: 40 rows of one value with five empty columns on the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((40, 50), value, np.uint16 if kind == "GRD" else np.complex64)
    values[:, :5] = 0
    points = [
        GroundControlPoint(row=row, col=col, x=12 + col * 1e-3 / 8, y=45 - row * 1e-3 / 11, z=0)
        for row in (0, 20, 40)
        for col in (0, 25, 50)
    ]
    shape = {"count": 1, "height": 40, "width": 50, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as file:
        file.write(values, 1)


def sentinel1_manifest(kind: str, names: dict[str, str]) -> str:
    """Return the text of a Sentinel-1 manifest that lists images by polarisation."""
    sar = "http://www.esa.int/safe/sentinel-1.0/sentinel-1/sar/level-1"
    sent = "".join(
        f"<s1sarl1:transmitterReceiverPolarisation>{name.upper()}</s1sarl1:transmitterReceiverPolarisation>"
        for name in names
    )
    files = "".join(
        f'<dataObject ID="{Path(name).stem}" repID="s1Level1MeasurementSchema">'
        f'<byteStream mimeType="application/octet-stream"><fileLocation locatorType="URL" href="./{name}"/>'
        "</byteStream></dataObject>"
        for name in names.values()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0" xmlns:s1sarl1="{sar}">
  <metadataSection>
    <metadataObject ID="platform"><metadataWrap><xmlData><safe:platform>
      <safe:familyName>SENTINEL-1</safe:familyName><safe:number>A</safe:number>
      <safe:instrument><safe:familyName abbreviation="SAR">Synthetic Aperture Radar</safe:familyName>
        <safe:extension><s1sarl1:instrumentMode><s1sarl1:mode>IW</s1sarl1:mode></s1sarl1:instrumentMode></safe:extension>
      </safe:instrument>
    </safe:platform></xmlData></metadataWrap></metadataObject>
    <metadataObject ID="generalProductInformation"><metadataWrap><xmlData><s1sarl1:standAloneProductInformation>
      {sent}<s1sarl1:productType>{kind}</s1sarl1:productType>
    </s1sarl1:standAloneProductInformation></xmlData></metadataWrap></metadataObject>
    <metadataObject ID="acquisitionPeriod"><metadataWrap><xmlData><safe:acquisitionPeriod>
      <safe:startTime>2015-07-05T06:42:41.504840</safe:startTime>
      <safe:stopTime>2015-07-05T06:43:06.503530</safe:stopTime>
    </safe:acquisitionPeriod></xmlData></metadataWrap></metadataObject>
  </metadataSection>
  <dataObjectSection>{files}</dataObjectSection>
</xfdu:XFDU>
"""
