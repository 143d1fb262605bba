"""``dofa mosaic``: the results of many scenes as one raster, a Cloud Optimized GeoTIFF or a virtual one."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio
from tqdm import tqdm

from dofa_cli import __version__
from dofa_cli.classes import ClassTable
from dofa_cli.errors import GridError, Interrupted, OptionError
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.mosaic_inputs import Survey, list_inputs, survey
from dofa_cli.pipelines.scenes.results import MARK
from dofa_cli.pipelines.shards.lock import locked
from dofa_cli.pipelines.shards.stop import stop_asked, stoppable
from dofa_cli.raster.mosaic import Mosaic, Overlap, lay_out
from dofa_cli.raster.mosaic_blocks import MosaicBlocks
from dofa_cli.raster.mosaic_vrt import MOST_ELEMENTS, write_vrt
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.style import read_style
from dofa_cli.raster.style_files import style_files, write_qgis_style, write_style
from dofa_cli.raster.writer import Overviews, RasterSpec, check_output, check_space, write_cog
from dofa_cli.raster.zarr_places import is_zarr

VIRTUAL = ".vrt"
ENDINGS = (".tif", ".tiff", VIRTUAL)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]+:/", re.IGNORECASE)
"""How an address begins, also one that became a path and lost a slash."""
COPIES = 2
"""Disk space needed at once, in results: the assembled file and the final one."""
LISTS = "GDAL_DISABLE_READDIR_ON_OPEN"
"""GDAL's option by which it lists the folder of a file that it opens, here for each of thousands."""
Say = Callable[[str], object]


@dataclass(frozen=True)
class MosaicReport:
    """What was, or with a dry run would be, put together.

    ``resampled`` inputs lie on other pixels than the mosaic's; ``shifted`` ones on pixels of the same size, less than
    one apart. Sizes in bytes of values, uncompressed.
    """

    output: str
    written: bool
    inputs: int
    height: int
    width: int
    bands: int
    dtype: str
    crs: str
    pixel: tuple[float, float]
    on_overlap: str
    resampled: int
    shifted: int
    output_bytes: int
    seconds: float
    tags: dict[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object."""
        return to_json(asdict(self))


def mosaic(
    output: str | Path,
    inputs: Sequence[str | Path],
    *,
    crs: str | None = None,
    resolution: float | None = None,
    on_overlap: Overlap | str = Overlap.FIRST,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = False,
    say: Say = lambda _: None,
) -> MosaicReport:
    """Put rasters that dofa wrote together into one: embeddings of the same weights, or maps of the same classes.

    ``inputs`` are files, folders, patterns and lists. A ``.tif`` output is a Cloud Optimized GeoTIFF, written block by
    block in bounded memory; a ``.vrt`` names the inputs. Raises :class:`OptionError` naming two inputs that do not
    belong together, :class:`GridError` for several coordinate systems without ``crs``, and the errors of reading and
    writing rasters.
    """
    started = time.perf_counter()
    path, overlap = Path(output), Overlap(on_overlap)
    if _ADDRESS.match(str(path)):
        raise OptionError(f"A mosaic is written to a path of this machine, not to the address {output}. Copy it there.")
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"A mosaic is a GeoTIFF (.tif) or a virtual raster (.vrt), not '{path.name}'.")
    if resolution is not None and not resolution > 0:
        raise OptionError(f"--resolution {resolution:g} is no pixel size.")
    named = [str(one) for one in inputs]
    options = gdal_options(named)
    unlisted = {LISTS: "TRUE"} if options.get(LISTS) == "FALSE" else {}
    with rasterio.Env(**options | unlisted), stoppable(say):
        found = survey(list_inputs(named, path))
        settled = _settle(found, crs, resolution, overlap)
        _check_stores(settled)
        if path.suffix.lower() == VIRTUAL:
            _check_virtual(settled)
        warnings = tuple(_warnings(found, settled))
        for warning in warnings:
            say(f"Warning: {warning}")
        if not dry_run:
            _write(path, settled, overwrite=overwrite, progress=progress)
    return _report(path, settled, time.perf_counter() - started, warnings, written=not dry_run)


def _settle(found: Survey, crs: str | None, resolution: float | None, overlap: Overlap) -> Mosaic:
    """Lay the inputs out and settle what the mosaic looks like."""
    first, classes = found.first, _classes(found)
    if overlap.mixes and classes is not None:
        raise OptionError(f"--on-overlap {overlap.value} is for numbers; classes have first and last.")
    decode = first.is_coded and (not found.same_codes or overlap is Overlap.MEAN)
    grid, sheets = lay_out(found.decoded if decode else found.sheets, crs, resolution)
    keeps_codes = first.is_coded and not decode
    spec = RasterSpec(
        grid=grid,
        bands=first.bands,
        dtype="float32" if decode else first.dtype,
        nodata=_nodata(first.nodata, first.dtype, decode=decode),
        descriptions=[name or "" for name in first.descriptions],
        tags=_tags(found, overlap, decode=decode),
        nbits=16 if found.tags.get("storage") == "float16" and first.dtype == "float32" else None,
        scales=list(first.scales) if keeps_codes else None,
        offsets=list(first.offsets) if keeps_codes else None,
        colours=_colours(classes),
        unit=first.unit,
        overviews=Overviews.MOST if classes is not None else Overviews.MEAN if first.bands == 1 else None,
    )
    return Mosaic(sheets, spec, overlap, np.dtype(first.dtype), first.nodata, classes)


def _nodata(nodata: float | None, dtype: str, *, decode: bool) -> float:
    if decode or (nodata is None and np.dtype(dtype).kind == "f"):
        return float("nan")
    if nodata is None:
        raise OptionError("The inputs have no nodata value, so nothing could stand where none of them lies.")
    return nodata


def _classes(found: Survey) -> ClassTable | None:
    """Return the classes of class maps: values and names by their tag, colours as the first file has them."""
    first = found.first
    if "classes" not in found.tags or first.nodata is None:
        return None
    names = {int(value): str(name) for value, name in json.loads(found.tags["classes"]).items()}
    colours = read_style(first.path).colours
    return ClassTable.of(
        list(names), names, {value: colours[value] for value in names if value in colours}, int(first.nodata)
    )


def _colours(classes: ClassTable | None) -> dict[int, tuple[int, int, int]] | None:
    if classes is None or classes.dtype != "uint8":
        return None
    return dict(zip(classes.values, classes.colours, strict=True))


def _tags(found: Survey, overlap: Overlap, *, decode: bool) -> dict[str, str]:
    made = {"inputs": len(found.sheets), "on_overlap": overlap.value}
    storage = {"storage": "float32"} if decode and "storage" in found.tags else {}
    return found.tags | storage | {MARK: __version__, "mosaic": json.dumps(made)}


def _check_stores(settled: Mosaic) -> None:
    for sheet in settled.sheets:
        if not sheet.exact and is_zarr(sheet.path):
            raise GridError(f"{sheet.path} lies on other pixels, and a Zarr store is not resampled. Give a GeoTIFF.")


def _check_virtual(settled: Mosaic) -> None:
    """Raise where GDAL could not draw the mosaic from its files: it copies pixels, first or last."""
    if settled.overlap.mixes:
        raise OptionError(f"--on-overlap {settled.overlap.value} needs values computed: write a .tif, not a .vrt.")
    for sheet in settled.sheets:
        if is_zarr(sheet.path):
            raise OptionError(f"{sheet.path} is a Zarr store, which a .vrt cannot name. Write a .tif.")
        if not sheet.exact:
            raise GridError(f"{sheet.path} lies on other pixels than the mosaic's and must be warped: write a .tif.")
    count, bands = len(settled.sheets), settled.spec.bands
    if count * bands > MOST_ELEMENTS:
        raise OptionError(
            f"A .vrt over {count:,} inputs of {bands} bands would list {count * bands:,} sources, which takes minutes "
            "to open. Write a .tif."
        )


def _warnings(found: Survey, settled: Mosaic) -> Iterator[str]:
    if found.differing:
        yield f"the inputs differ in {', '.join(found.differing)}; edges between them may show."
    if resampled := _resampled(settled):
        how = "bilinearly" if settled.dtype.kind == "f" else "to the nearest pixel"
        yield f"{resampled} of {len(settled.sheets)} inputs lie on other pixels and are resampled {how}."
    if shifted := _shifted(settled):
        yield f"{shifted} of {len(settled.sheets)} inputs are moved by less than a pixel onto those of the mosaic."
    if settled.spec.dtype != str(settled.dtype):
        yield "the inputs' 8-bit values are decoded, and the mosaic holds float32."


def _write(path: Path, settled: Mosaic, *, overwrite: bool, progress: bool) -> None:
    written = (path, *(style_files(path) if settled.classes is not None else ()))
    for one in written:
        check_output(one, overwrite=overwrite, inputs=[sheet.path for sheet in settled.sheets])
    with locked(path):
        if path.suffix.lower() == VIRTUAL:
            write_vrt(path, settled)
        else:
            check_space(path, COPIES * settled.spec.nbytes)
            with _progress(settled.spec, shown=progress) as advance:
                write_cog(path, MosaicBlocks(settled), settled.spec, advance)
        if settled.classes is not None:
            _write_style(path, settled.classes)


def _write_style(path: Path, classes: ClassTable) -> None:
    for old in style_files(path):
        old.unlink(missing_ok=True)  # what it says is of an earlier mosaic
    if path.suffix.lower() == VIRTUAL:
        write_qgis_style(path, classes)  # colours and names stand in the file itself
    else:
        write_style(path, classes)


@contextmanager
def _progress(spec: RasterSpec, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Give a function to call with each block; it ends the run where a signal asked for that."""
    blocks = -(-spec.grid.height // spec.block) * -(-spec.grid.width // spec.block)
    with tqdm(total=blocks, desc="mosaic", unit="block", disable=not shown, file=sys.stderr) as bar:

        def advance() -> None:
            bar.update(1)
            if stop_asked():
                raise Interrupted("Stopped by a signal; nothing was written. The same command starts anew.")

        yield advance


def _resampled(settled: Mosaic) -> int:
    return sum(not sheet.exact for sheet in settled.sheets)


def _shifted(settled: Mosaic) -> int:
    return sum(sheet.shift > 0 for sheet in settled.sheets)


def _report(path: Path, settled: Mosaic, seconds: float, warnings: tuple[str, ...], *, written: bool) -> MosaicReport:
    spec, step = settled.spec, settled.spec.grid.transform
    assert spec.grid.crs is not None, "a mosaic has coordinates"
    return MosaicReport(
        output=str(path),
        written=written,
        inputs=len(settled.sheets),
        height=spec.grid.height,
        width=spec.grid.width,
        bands=spec.bands,
        dtype=spec.dtype,
        crs=spec.grid.crs.to_string(),
        pixel=(step.a, -step.e),
        on_overlap=settled.overlap.value,
        resampled=_resampled(settled),
        shifted=_shifted(settled),
        output_bytes=0 if path.suffix.lower() == VIRTUAL else spec.nbytes,
        seconds=seconds,
        tags=spec.tags,
        warnings=warnings,
    )
