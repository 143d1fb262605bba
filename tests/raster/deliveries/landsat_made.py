"""Small Landsat scenes, built from the structure that USGS publishes: real field names, one small GeoTIFF a band."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tests.made import write_raster

Tree = dict[str, dict[str, str]]

L2SP = "LC08_L2SP_193024_20220601_20220610_02_T1"
L1TP = "LC08_L1TP_193024_20220601_20220610_02_T1"
TIME = {"DATE_ACQUIRED": "2022-06-01", "SCENE_CENTER_TIME": '"10:02:03.4560780Z"'}
REFLECTIVE = ("1", "2", "3", "4", "5", "6", "7")


def factors(quantity: str, keys: tuple[str, ...], mult: str, add: str) -> dict[str, str]:
    """Return the lines that state factors of bands."""
    named = {f"{quantity}_MULT_BAND_{key}": mult for key in keys}
    return named | {f"{quantity}_ADD_BAND_{key}": add for key in keys}


def level2_tree(scene: str = L2SP, spacecraft: str = "LANDSAT_8", sensor: str = "OLI_TIRS") -> Tree:
    """Return the metadata of a Level 2 scene, which repeats much of Level 1."""
    level1 = scene.replace("L2SP", "L1TP")
    files = {f"FILE_NAME_BAND_{key}": f'"{scene}_SR_B{key}.TIF"' for key in REFLECTIVE}
    return {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": f'"{scene}"',
            "PROCESSING_LEVEL": '"L2SP"',
            "COLLECTION_NUMBER": "02",
            **files,
            "FILE_NAME_BAND_ST_B10": f'"{scene}_ST_B10.TIF"',
            "FILE_NAME_THERMAL_RADIANCE": f'"{scene}_ST_TRAD.TIF"',
            "FILE_NAME_QUALITY_L1_PIXEL": f'"{scene}_QA_PIXEL.TIF"',
            "DATA_TYPE_BAND_1": '"UINT16"',
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f'"{spacecraft}"',
            "SENSOR_ID": f'"{sensor}"',
            **TIME,
            "SUN_ELEVATION": "30.00000000",
        },
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": factors("REFLECTANCE", REFLECTIVE, "2.75e-05", "-0.2"),
        "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": factors("TEMPERATURE", ("ST_B10",), "0.00341802", "149.0"),
        "LEVEL1_PROCESSING_RECORD": {
            "PROCESSING_LEVEL": '"L1TP"',
            **{f"FILE_NAME_BAND_{key}": f'"{level1}_B{key}.TIF"' for key in REFLECTIVE},
        },
        "LEVEL1_RADIOMETRIC_RESCALING": factors("REFLECTANCE", REFLECTIVE, "2.0000E-05", "-0.100000"),
    }


def level1_tree(scene: str = L1TP, spacecraft: str = "LANDSAT_8", sensor: str = "OLI_TIRS") -> Tree:
    """Return the metadata of a Level 1 scene: reflectance for bands 1 to 9, radiance alone for the thermal ones."""
    keys = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")
    return {
        "PRODUCT_CONTENTS": {
            "PROCESSING_LEVEL": '"L1TP"',
            **{f"FILE_NAME_BAND_{key}": f'"{scene}_B{key}.TIF"' for key in keys},
            "FILE_NAME_QUALITY_L1_PIXEL": f'"{scene}_QA_PIXEL.TIF"',
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f'"{spacecraft}"',
            "SENSOR_ID": f'"{sensor}"',
            **TIME,
            "SUN_ELEVATION": "30.00000000",
        },
        "LEVEL1_RADIOMETRIC_RESCALING": {
            **factors("RADIANCE", keys, "1.2979E-02", "-64.89477"),
            **factors("REFLECTANCE", keys[:9], "2.0000E-05", "-0.100000"),
        },
    }


def write_bands(folder: Path, tree: Tree, group: str = "PRODUCT_CONTENTS", side: int = 8) -> None:
    """Write every raster that ``group`` lists: values 10000 + 100 a file, and a quality layer without clouds."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [name.strip('"') for key, name in tree[group].items() if key.startswith("FILE_NAME_")]
    for number, name in enumerate(files):
        value = 21824 if "QA_PIXEL" in name else 10000 + 100 * number  # USGS: 21824 is clear land
        write_raster(folder / name, np.full((1, side, side), value, np.uint16))


def text_of(tree: Tree, root: str = "LANDSAT_METADATA_FILE") -> str:
    """Write metadata as nested text."""
    lines = [f"GROUP = {root}"]
    for name, keys in tree.items():
        lines += [
            f"  GROUP = {name}",
            *(f"    {key} = {value}" for key, value in keys.items()),
            f"  END_GROUP = {name}",
        ]
    return "\n".join([*lines, f"END_GROUP = {root}", "END", ""])


def json_of(tree: Tree) -> str:
    """Write metadata as JSON, where every value is text."""
    plain = {name: {key: value.strip('"') for key, value in keys.items()} for name, keys in tree.items()}
    return json.dumps({"LANDSAT_METADATA_FILE": plain})


def xml_of(tree: Tree) -> str:
    """Write metadata as XML."""
    root = ElementTree.Element("LANDSAT_METADATA_FILE")
    for name, keys in tree.items():
        group = ElementTree.SubElement(root, name)
        for key, value in keys.items():
            ElementTree.SubElement(group, key).text = value.strip('"')
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def landsat_scene(folder: Path, tree: Tree, scene: str, group: str = "PRODUCT_CONTENTS") -> Path:
    """Write a scene with its metadata as text; return its folder."""
    write_bands(folder, tree, group)
    root = "LANDSAT_METADATA_FILE" if group == "PRODUCT_CONTENTS" else "L1_METADATA_FILE"
    (folder / f"{scene}_MTL.txt").write_text(text_of(tree, root))
    return folder


def packed(folder: Path, archive: Path, *, dotted: bool = False) -> str:
    """Pack a folder's files into a tar archive, with ``./`` before each name if ``dotted``."""
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, f"./{file.name}" if dotted else file.name)
    return str(archive)
