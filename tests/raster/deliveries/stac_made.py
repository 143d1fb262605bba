"""STAC items as catalogues publish them: Earth Search, Planetary Computer, Copernicus Data Space, LandsatLook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.made import TRANSFORM, write_raster

Json = dict[str, Any]

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
OPTICAL = {
    "red": ("B04", 0.665, 0.038, 10),
    "green": ("B03", 0.56, 0.045, 10),
    "blue": ("B02", 0.49, 0.098, 10),
    "rededge1": ("B05", 0.704, 0.019, 20),
    "swir16": ("B11", 1.61, 0.143, 20),
}
"""Asset keys of Earth Search with band, centre, width (µm) and pixel size (m)."""


def written(path: Path, item: Json) -> str:
    path.write_text(json.dumps(item))
    return str(path)


def item_of(assets: Json, collection: str = "", **properties: Any) -> Json:
    """Return an item with nothing but what is given."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "an-item",
        "collection": collection,
        "properties": {"datetime": "2023-06-28T07:24:41.632000Z", **properties},
        "geometry": None,
        "links": [],
        "assets": assets,
    }


def rasters(folder: Path, *names: str, side: int = 16, value: int = 1600, dtype: str = "uint16") -> None:
    """Write one raster a name; those whose name ends in 20m have pixels of twice the size."""
    for name in names:
        coarse = "_20m" in name or name in ("B05.tif", "B11.tif", "SCL.tif")
        size = side // 2 if coarse else side
        transform = TRANSFORM @ TRANSFORM.scale(side / size)
        write_raster(folder / name, np.full((1, size, size), value, dtype), transform=transform)


def earth_search(folder: Path, *, offset: float = -0.1, **properties: Any) -> Json:
    """Return an Earth Search item of Sentinel-2 (STAC 1.0) beside its GeoTIFFs, with twins in JPEG 2000 elsewhere."""
    assets: Json = {"aot": {"href": "./AOT.tif", "type": COG, "roles": ["data", "reflectance"]}}
    for key, (band, centre, width, size) in OPTICAL.items():
        common = "rededge" if key.startswith("rededge") else key
        asset = {
            "href": f"./{band}.tif",
            "type": COG,
            "title": f"{key} - {size}m",
            "eo:bands": [
                {"name": key, "common_name": common, "center_wavelength": centre, "full_width_half_max": width}
            ],
            "gsd": size,
            "proj:transform": [size, 0, 300000, 0, -size, 5800020],
            "raster:bands": [
                {"nodata": 0, "data_type": "uint16", "spatial_resolution": size, "scale": 0.0001, "offset": offset}
            ],
            "roles": ["data", "reflectance"],
        }
        assets[key] = asset
        assets[f"{key}-jp2"] = {**asset, "href": f"s3://sentinel-s2-l2a/tiles/33/{band}.jp2", "type": "image/jp2"}
    picture = {"eo:bands": [{"name": name, "common_name": name} for name in ("red", "green", "blue")], "type": COG}
    assets["visual"] = {**picture, "href": "./TCI.tif", "roles": ["visual"]}
    assets["thumbnail"] = {"href": "./thumbnail.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    assets["scl"] = {"href": "./SCL.tif", "type": COG, "roles": ["data", "reflectance"]}
    assets["scl-jp2"] = {"href": "s3://sentinel-s2-l2a/tiles/33/SCL.jp2", "type": "image/jp2", "roles": ["data"]}
    assets["granule_metadata"] = {"href": "./granule.xml", "type": "application/xml", "roles": ["metadata"]}
    rasters(folder, "AOT.tif", "TCI.tif", *(f"{band}.tif" for band, *_ in OPTICAL.values()))
    rasters(folder, "SCL.tif", value=4, dtype="uint8")
    told = {"platform": "sentinel-2a", "constellation": "sentinel-2", "instruments": ["msi"], **properties}
    return item_of(assets, "sentinel-2-l2a", **told)


def data_space(folder: Path) -> Json:
    """Return an item like those of the Copernicus Data Space (STAC 1.1): one asset a band and pixel size."""
    assets: Json = {}
    for key, name, common, centre in (
        ("B02_20m", "B02", "blue", 0.49),
        ("B02_10m", "B02", "blue", 0.49),
        ("B03_10m", "B03", "green", 0.56),
        ("B04_10m", "B04", "red", 0.665),
        ("B8A_20m", "B8A", "nir08", 0.865),
    ):
        assets[key] = {
            "href": f"{key}.tif",
            "type": COG,
            "roles": ["data", "reflectance"],
            "nodata": 0,
            "data_type": "uint16",
            "raster:scale": 0.0001,
            "raster:offset": -0.1,
            "bands": [
                {
                    "name": name,
                    "eo:common_name": common,
                    "eo:center_wavelength": centre,
                    "eo:full_width_half_max": 0.03,
                }
            ],
        }
    assets["SCL_60m"] = {"href": "SCL_60m.tif", "type": COG, "roles": ["data"]}
    assets["SCL_20m"] = {"href": "SCL_20m.tif", "type": COG, "roles": ["data"]}
    assets["TCI_10m"] = {"href": "TCI_10m.tif", "type": COG, "roles": ["visual"], "bands": [{"name": "B04"}]}
    assets["thumbnail"] = {"href": "ql.jpg", "type": "image/jpeg", "roles": ["thumbnail", "overview"]}
    rasters(folder, *(f"{key}.tif" for key in assets if key != "thumbnail"))
    properties = {"platform": "sentinel-2b", "processing:level": "L2", "processing:version": "05.11"}
    return {**item_of(assets, "sentinel-2-l2a", **properties), "stac_version": "1.1.0"}


def landsat(folder: Path) -> Json:
    """Return a Landsat 8 item as the Planetary Computer has it: bands by colour, and much that is no band."""
    assets: Json = {
        "qa": {"href": "ST_QA.tif", "type": COG, "roles": ["data"], "raster:bands": [{"nodata": -9999, "scale": 0.01}]},
        "red": {
            "href": "SR_B4.tif",
            "type": COG,
            "eo:bands": [
                {"name": "OLI_B4", "common_name": "red", "center_wavelength": 0.65, "full_width_half_max": 0.04}
            ],
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 2.75e-05, "offset": -0.2}],
            "roles": ["data"],
        },
        "lwir11": {
            "href": "ST_B10.tif",
            "type": COG,
            "eo:bands": [{"name": "TIRS_B10", "common_name": "lwir11", "center_wavelength": 10.9}],
            "raster:bands": [{"nodata": 0, "unit": "kelvin", "scale": 0.00341802, "offset": 149.0}],
            "roles": ["temperature"],
        },
        "emis": {"href": "EMIS.tif", "type": COG, "roles": ["data"], "raster:bands": [{"scale": 0.0001}]},
        "qa_pixel": {"href": "QA_PIXEL.tif", "type": COG, "roles": ["cloud", "cloud-shadow"]},
        "mtl.json": {"href": "MTL.json", "type": "application/json", "roles": ["metadata"]},
        "rendered_preview": {"href": "https://example.com/preview.png", "type": "image/png", "roles": ["overview"]},
    }
    rasters(folder, "ST_QA.tif", "SR_B4.tif", "ST_B10.tif", "EMIS.tif", "QA_PIXEL.tif")
    properties = {"platform": "landsat-8", "instruments": ["oli", "tirs"], "landsat:correction": "L2SP"}
    return item_of(assets, "landsat-c2-l2", **properties)
