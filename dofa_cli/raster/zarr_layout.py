"""How a raster lies in a Zarr store: shards, chunks, and the attributes by which other programs find its place."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import ClassTable
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import RasterSpec

CHUNK_BYTES = 8 * 10**6
"""Most bytes of a chunk over all bands, uncompressed: what a reader of one pixel has to decode."""
LEAST_CHUNK = 8
DIMENSIONS = ("band", "y", "x")
GRID_MAPPING = "spatial_ref"
_CONVENTIONS = (
    {
        "name": "proj",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "name": "spatial",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    },
)
"""The Zarr conventions that tell CRS and transform, by which newer GDAL finds them."""


@dataclass(frozen=True)
class ZarrLayout:
    """A raster ``spec`` as one Zarr array ``name`` of (band, y, x).

    ``side`` is that of the regions that are written at once, in pixels; a region is one file, a shard. ``classes``
    become flag values and meanings.
    """

    name: str
    spec: RasterSpec
    side: int
    classes: ClassTable | None = None
    chunk: int = field(init=False)

    def __post_init__(self) -> None:
        """Choose the chunk's side: a divisor of the shard's."""
        object.__setattr__(self, "chunk", chunk_side(self.side, self.spec.bands * self.dtype.itemsize))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values; half precision is a type of its own here."""
        return np.dtype(np.float16) if self.spec.nbits == 16 else np.dtype(self.spec.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, height and width."""
        return self.spec.bands, self.spec.grid.height, self.spec.grid.width

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Shape of a chunk."""
        return self.spec.bands, self.chunk, self.chunk

    @property
    def shards(self) -> tuple[int, int, int]:
        """Shape of a shard, smaller along an axis that is shorter than one."""
        rows, cols = (min(self.side, ceil(size / self.chunk) * self.chunk) for size in self.shape[1:])
        return self.spec.bands, rows, cols


def chunk_side(side: int, pixel_bytes: int) -> int:
    """Return the largest divisor of ``side`` whose square stays within :data:`CHUNK_BYTES`.

    Where only slivers would, the smallest divisor of at least :data:`LEAST_CHUNK` pixels.
    """
    divisors = [size for size in range(1, side + 1) if side % size == 0]
    fitting = [size for size in divisors if size**2 * pixel_bytes <= CHUNK_BYTES]
    if fitting and fitting[-1] >= LEAST_CHUNK:
        return fitting[-1]
    return next((size for size in divisors if size >= LEAST_CHUNK), side)


def array_attributes(layout: ZarrLayout) -> dict[str, Any]:
    """Return the attributes of the array: its place, nodata, names and meanings (CF), and the tags."""
    spec, dtype = layout.spec, layout.dtype
    found: dict[str, Any] = {"long_name": layout.name, "band_names": list(spec.descriptions), **spec.tags}
    if spec.grid.crs is not None:
        found |= {"grid_mapping": GRID_MAPPING, "coordinates": GRID_MAPPING, "_CRS": {"wkt": _wkt(spec.grid)}}
    if spec.unit:
        found["units"] = spec.unit
    if not (dtype.kind == "f" and np.isnan(spec.nodata)):
        found["_FillValue"] = _fill_attribute(dtype, spec.nodata)
    if layout.classes is not None:
        table = layout.classes
        found["flag_values"] = list(table.values)
        found["flag_meanings"] = " ".join("_".join(name.split()) for name in table.names)
        found["flag_names"] = list(table.names)
        found["flag_colors"] = " ".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in table.colours)
    return found


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Return what CF and rioxarray read of a grid: the CRS's parameters and text, and GDAL's transform."""
    step = grid.transform
    order = (step.c, step.a, step.b, step.f, step.d, step.e)
    place = {"GeoTransform": " ".join(repr(float(number)) for number in order)}
    if grid.crs is None:
        return place
    from pyproj import CRS

    stated = CRS.from_wkt(_wkt(grid)).to_cf()
    return {**stated, "spatial_ref": stated["crs_wkt"], **place}


def group_attributes(layout: ZarrLayout) -> dict[str, Any]:
    """Return the attributes of the store: conventions, CRS and transform in their words, and the tags."""
    grid, step = layout.spec.grid, layout.spec.grid.transform
    found: dict[str, Any] = {
        "Conventions": "CF-1.10",
        "zarr_conventions": list(_CONVENTIONS if grid.crs is not None else _CONVENTIONS[1:]),
        "spatial:dimensions": list(DIMENSIONS[1:]),
        "spatial:shape": [grid.height, grid.width],
        "spatial:bbox": list(grid.bounds),
        "spatial:registration": "pixel",
        "spatial:transform_type": "affine",
        "spatial:transform": [step.a, step.b, step.c, step.d, step.e, step.f],
    }
    if grid.crs is not None:
        code = grid.crs.to_epsg()
        found |= {"proj:code": f"EPSG:{code}"} if code else {}
        found["proj:wkt2"] = _wkt(grid)
    return found | layout.spec.tags


def axes(grid: Grid) -> Mapping[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Return coordinates of the pixels' centres and their attributes by axis; none for a rotated grid."""
    step = grid.transform
    if step.b or step.d:
        return {}
    y = step.f + step.e * (np.arange(grid.height) + 0.5)
    x = step.c + step.a * (np.arange(grid.width) + 0.5)
    return {"y": (y, _axis_attributes("y", grid)), "x": (x, _axis_attributes("x", grid))}


def _axis_attributes(name: str, grid: Grid) -> dict[str, Any]:
    found = {"axis": name.upper()}
    if grid.crs is None:
        return found
    if grid.crs.is_geographic:
        long, unit = ("latitude", "degrees_north") if name == "y" else ("longitude", "degrees_east")
        return found | {"standard_name": long, "units": unit}
    return found | {"standard_name": f"projection_{name}_coordinate", "units": grid.crs.linear_units}


def _wkt(grid: Grid) -> str:
    from rasterio.enums import WktVersion

    return str(grid.crs.to_wkt(version=WktVersion.WKT2_2019))  # type: ignore[union-attr]


def _fill_attribute(dtype: np.dtype[Any], nodata: float) -> int | str:
    """Return nodata as xarray writes it: whole numbers plain, others as the bytes of a double in base64."""
    if dtype.kind in "iu":
        return int(nodata)
    return base64.standard_b64encode(struct.pack("<d", nodata)).decode()
