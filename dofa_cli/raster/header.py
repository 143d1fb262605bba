"""What a file says about itself: bands, grid, masks, tags. Reads no pixels but a thumbnail of alpha bands."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from dofa_cli.errors import DamagedRaster, GridError, NoBands, NotARaster, ScaleMismatch, SceneError, SceneNotFound
from dofa_cli.raster.deliveries.delivery import Delivery
from dofa_cli.raster.source import Grid, georeference, warp_options
from dofa_cli.raster.spectrum import stated_spectrum
from dofa_cli.raster.zarr_raster import open_raster

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # said once, in our own words
_REMOTE = re.compile(r"^(?:[a-z0-9+]+://|/vsi|\w{2,}:)")
_DAY = r"((?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
_DATE = re.compile(rf"(?<!\d){_DAY}(?:T((?:[01]\d|2[0-3])[0-5]\d[0-5]\d))?(?!\d)")
_THUMBNAIL = 256
_OPAQUE_LEVELS = 2


@dataclass(frozen=True)
class FileBand:
    """One band of one file.

    ``index`` counts from 1; ``scale`` and ``offset`` are GDAL's band metadata, or what the product's own metadata say.
    ``wavelength_um`` and ``fwhm_um`` are stated by the file; a band that is not ``usable`` is on its list of bad ones.
    """

    path: str
    index: int
    in_file: int
    text: str | None
    colour: str | None
    dtype: np.dtype[Any]
    nodata: float | None
    scale: float
    offset: float
    wavelength_um: float | None = None
    fwhm_um: float | None = None
    usable: bool = True

    def stating(self, wavelength_um: float) -> FileBand:
        """Return this band with a wavelength in µm."""
        return replace(self, wavelength_um=wavelength_um)


@dataclass(frozen=True)
class Header:
    """A file's description.

    ``has_mask`` means that alpha or mask bands tell valid pixels from others; ``delivery`` is the agency's product that
    the file belongs to.
    """

    path: str
    bands: tuple[FileBand, ...]
    grid: Grid
    block: tuple[int, int]
    has_mask: bool
    tags: dict[str, str]
    is_affine: bool
    taken: datetime | None
    is_warped: bool = False
    delivery: Delivery | None = None

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.path).name

    @property
    def given_path(self) -> str:
        """What the user named: the file, or the product that it belongs to."""
        return self.delivery.path if self.delivery else self.path


def read_header(path: str) -> Header:
    """Open a file and describe it.

    Raises :class:`SceneNotFound`, :class:`NotARaster`, :class:`DamagedRaster` or :class:`NoBands`.
    """
    if not _REMOTE.match(path) and not Path(path).exists():
        raise SceneNotFound(f"No such file: {path}.")
    try:
        with open_raster(path) as file:
            return _describe(path, file)
    except RasterioError as error:
        raise _refusal(path, str(error)) from None


def warped_header(header: Header, crs: str, resolution: float | None) -> Header:
    """Return the header as it looks warped to ``crs``, with square pixels of ``resolution`` CRS units if given."""
    try:
        target = CRS.from_user_input(crs)
        with rasterio.open(header.path) as file:
            source_crs = georeference(file)
            if source_crs is None:
                raise GridError(f"{header.path} has no coordinates to warp from.")
            with WarpedVRT(file, src_crs=source_crs, crs=target, **warp_options(file)) as view:
                grid = Grid(view.transform, view.crs, view.height, view.width)
    except CRSError:
        raise GridError(f"--warp '{crs}' is not a coordinate system. Write for instance EPSG:32633.") from None
    except RasterioError as error:
        raise GridError(f"Cannot warp {header.path} to {crs}: {error}. Warp it with gdalwarp first.") from None
    return replace(
        header, grid=with_resolution(grid, resolution) if resolution else grid, is_affine=True, is_warped=True
    )


def with_resolution(grid: Grid, resolution: float) -> Grid:
    """Return a grid over the same ground with square pixels of ``resolution`` CRS units."""
    factor = resolution / grid.pixel_size
    if factor > max(grid.height, grid.width):
        raise GridError(f"A pixel of {resolution:g} CRS units is larger than the scene.")
    height, width = (max(1, round(size / factor)) for size in (grid.height, grid.width))
    return Grid(grid.transform @ rasterio.Affine.scale(factor), grid.crs, height, width)


def _describe(path: str, file: Any) -> Header:
    if file.count == 0:
        raise NoBands(_no_bands(path, file.subdatasets))
    is_mask = [_is_mask(file, index) for index in file.indexes]
    spectral = [index for index, mask in zip(file.indexes, is_mask, strict=True) if not mask]
    spectrum = stated_spectrum(file)
    bands = tuple(replace(_band(path, file, n, len(spectral)), **asdict(spectrum[n - 1])) for n in spectral)
    flags = file.mask_flag_enums[0]
    has_mask = any(is_mask) or (MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags)
    block_height, block_width = file.block_shapes[0]
    return Header(
        path=path,
        bands=bands,
        grid=Grid(file.transform, georeference(file), file.height, file.width),
        block=(block_height, block_width),
        has_mask=has_mask,
        tags=file.tags(),
        is_affine=not (file.transform.is_identity and georeference(file) is not None),
        taken=_date(path, file.tags(ns="IMAGERY")),
    )


def _band(path: str, file: Any, index: int, in_file: int) -> FileBand:
    position = index - 1
    colour = file.colorinterp[position]
    if file.dtypes[position].startswith("complex"):
        raise ScaleMismatch(f"{path} holds complex values (band {index}). Give amplitude, power or dB instead.")
    return FileBand(
        path=path,
        index=index,
        in_file=in_file,
        text=file.descriptions[position],
        colour=colour.name if colour in (ColorInterp.red, ColorInterp.green, ColorInterp.blue) else None,
        dtype=np.dtype(file.dtypes[position]),
        nodata=file.nodatavals[position],
        scale=_envi_scale(file) if file.scales[position] == 1 else file.scales[position],
        offset=file.offsets[position],
    )


def _envi_scale(file: Any) -> float:
    """Return 1 / ``reflectance scale factor`` of an ENVI header, which GDAL reads and does not apply; else 1."""
    try:
        factor = float(file.tags(ns="ENVI").get("reflectance_scale_factor", 1))
    except ValueError:
        return 1.0
    return 1 / factor if factor > 0 else 1.0


def _is_mask(file: Any, index: int) -> bool:
    """Tell a true alpha band from a fourth spectral band that a writer labelled alpha: a mask has two levels."""
    if file.colorinterp[index - 1] != ColorInterp.alpha:
        return False
    shape = (min(file.height, _THUMBNAIL), min(file.width, _THUMBNAIL))
    return len(np.unique(file.read(index, out_shape=shape))) <= _OPAQUE_LEVELS


def _date(path: str, imagery: dict[str, str]) -> datetime | None:
    """Read the acquisition time (UTC) from GDAL's IMAGERY tags or from the file's name."""
    stated = re.sub("[-:]", "", imagery.get("ACQUISITIONDATETIME", "")).replace(" ", "T")
    found = _DATE.search(stated) or _DATE.search(PurePosixPath(path).name)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1] + (found[2] or "000000"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the 30th of February
        return None


def _no_bands(path: str, subdatasets: Sequence[str]) -> str:
    if not subdatasets:
        return f"{path} has no raster bands."
    shown = "\n  ".join(subdatasets[:12])
    return f"{path} holds {len(subdatasets)} variables. Name one of them instead of the file:\n  {shown}"


def _refusal(path: str, reason: str) -> SceneError:
    first = reason.splitlines()[0]
    if "or bands on VRTDataset" in reason:
        return NoBands(_no_bands(path, []))
    if Path(path).is_dir():
        return NotARaster(f"{path} is a folder that holds no product of a known format. Name the raster files in it.")
    if "not recognized as being in a supported file format" in reason or "not recognized as a supported" in reason:
        return NotARaster(f"{path} is not a raster that GDAL reads.")
    if "No such file" in reason or "HTTP response code: 404" in reason or "does not exist" in reason:
        return SceneNotFound(f"No such file: {path} ({first}).")
    return DamagedRaster(f"{path} cannot be opened: {first}")
