"""The files of a map: their names, their rasters, all finished before the first takes its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import ClassTable
from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.inference.outputs import FileFormat
from dofa_cli.pipelines.mapping.decode import STEPS, Confidence, Decoder, ShareType, Smooth
from dofa_cli.pipelines.shards.stop import check_stop
from dofa_cli.raster.grid import Window
from dofa_cli.raster.polygons import check_polygon_format, polygonise
from dofa_cli.raster.source import Grid
from dofa_cli.raster.style_files import style_files, write_qgis_style, write_style
from dofa_cli.raster.writer import Blocks, Overviews, RasterSpec, check_output, write_cog
from dofa_cli.raster.zarr_blocks import write_zarr
from dofa_cli.raster.zarr_places import SUFFIX, check_store, is_zarr

RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class MapOptions:
    """What is written of a map; fields are the command line's options of the same names.

    ``simplify`` is in pixels, ``min_area`` in m² (pixels where the scene has no coordinates).
    """

    probabilities: bool = False
    confidence: Confidence | None = None
    stored: ShareType = ShareType.UINT8
    smooth: Smooth = Smooth.NONE
    polygons: Path | None = None
    simplify: float = 0.0
    min_area: float = 0.0
    file_format: FileFormat | None = None


@dataclass(frozen=True)
class MapFiles:
    """Paths of a map and what goes with it."""

    map: Path
    probabilities: Path | None = None
    confidence: Path | None = None
    polygons: Path | None = None

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        """Yield name and path of each file that is wanted."""
        named = (("map", self.map), ("probabilities", self.probabilities), ("confidence", self.confidence))
        yield from ((name, path) for name, path in (*named, ("polygons", self.polygons)) if path is not None)


@dataclass
class Tally:
    """What a map holds: pixels by class index, or count, sum and range of its numbers."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add_classes(self, values: NDArray[Any], table: ClassTable) -> None:
        """Count the pixels of each class."""
        found = table.indices(values)
        counts = np.bincount(found[found >= 0], minlength=len(table))
        self.pixels = counts if not len(self.pixels) else self.pixels + counts

    def to_plain(self) -> dict[str, Any]:
        """Return the tally as JSON holds it; :meth:`from_plain` gives it back."""
        return {"pixels": self.pixels.tolist(), "total": self.total, "least": self.least, "most": self.most}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Tally:
        """Undo :meth:`to_plain`."""
        return cls(**plain | {"pixels": np.array(plain["pixels"], np.int64)})

    def add_numbers(self, values: NDArray[np.float32], nodata: float) -> None:
        """Count numbers and keep their sum and range."""
        found = values[np.isfinite(values) & (values != nodata)].astype(np.float64)
        self.pixels = np.array([len(found) + self.pixels.sum()])
        if len(found):
            self.total += float(found.sum())
            self.least, self.most = min(self.least, float(found.min())), max(self.most, float(found.max()))


def map_files(head: Head, output: Path | None, scene: str, options: MapOptions) -> MapFiles:
    """Name the files of a map: after ``output``, else after the ``scene``, in the current folder.

    Raises :class:`OptionError` for names with a wrong ending and for what a head cannot give.
    """
    if head.classes is None and (options.probabilities or options.confidence or options.polygons or _smooths(options)):
        raise OptionError(
            "The head predicts a number: --probabilities, --confidence, --polygons and --smooth are for classes."
        )
    kind = "classes" if head.target is None else re.sub(r"[^\w.-]+", "_", head.target.name)
    usual = SUFFIX if options.file_format is FileFormat.ZARR else ".tif"
    path = Path(f"{scene}_{kind}{usual}") if output is None else output
    _check_ending(path, options.file_format)
    if options.polygons is not None:
        check_polygon_format(options.polygons)
    stem, ending = path.with_name(scene if output is None else path.stem), SUFFIX if is_zarr(path) else ".tif"
    return MapFiles(
        path,
        stem.with_name(f"{stem.name}_probabilities{ending}") if options.probabilities else None,
        stem.with_name(f"{stem.name}_confidence{ending}") if options.confidence else None,
        options.polygons,
    )


def _check_ending(path: Path, wanted: FileFormat | None) -> None:
    fitting = {None: (*RASTERS, SUFFIX), FileFormat.COG: RASTERS, FileFormat.ZARR: (SUFFIX,)}[wanted]
    if path.suffix.lower() not in fitting:
        raise OptionError(
            f"A map is a GeoTIFF (.tif) or a Zarr store (.zarr) as --format says, not '{path.name}'. --polygons writes "
            "vector files."
        )


def check_files(files: MapFiles, *, overwrite: bool, inputs: tuple[str, ...]) -> None:
    """Fail before any work where one of the files cannot be written or is there; styles beside the map count too."""
    styles = () if is_zarr(files.map) else style_files(files.map)
    for path in (*(path for _, path in files), *dict.fromkeys((*styles, *_polygon_style(files)))):
        check = check_store if is_zarr(path) else check_output
        check(path, overwrite=overwrite, inputs=inputs)


@dataclass(frozen=True)
class MapWriter:
    """Write a map's files from its logits. ``grid`` is the scene's, ``tags`` what all rasters say of their making."""

    head: Head
    grid: Grid
    tags: dict[str, str]
    options: MapOptions

    def write(self, files: MapFiles, decoder: Decoder, folder: Path) -> Tally:
        """Write all files into ``folder`` under their names; return what the map holds. Heeds the wish to stop."""
        tally = Tally()
        working = {name: folder / path.name for name, path in files}
        self._write_map(working["map"], decoder, tally)
        if "probabilities" in working:
            shares = partial(decoder.shares, stored=self.options.stored)
            _write_raster(working["probabilities"], shares, self._share_spec(self._classes.names))
        if "confidence" in working and self.options.confidence:
            sure = partial(decoder.confidence, kind=self.options.confidence, stored=self.options.stored)
            _write_raster(working["confidence"], sure, self._share_spec([self.options.confidence.value]))
        if files.polygons is not None:
            self._write_polygons(working["map"], working["polygons"])
        return tally

    def write_style(self, files: MapFiles, folder: Path) -> dict[str, Path]:
        """Write names and colours of classes into ``folder``; return, by name, where they belong beside the files."""
        if self.head.classes is None:
            return {}
        styles = {path.name: path for path in _polygon_style(files)}
        for name in styles:
            write_qgis_style(folder / name, self._classes)
        if not is_zarr(files.map):  # a store holds them itself
            write_style(folder / files.map.name, self._classes)
            styles |= {path.name: path for path in style_files(files.map)}
        return styles

    @property
    def nbytes(self) -> int:
        """Bytes of all rasters, uncompressed."""
        specs = [self._class_spec if self.head.classes is not None else self._number_spec]
        if self.options.probabilities:
            specs.append(self._share_spec(self._classes.names))
        return sum(spec.nbytes for spec in (*specs, *([self._share_spec([""])] if self.options.confidence else ())))

    @property
    def _classes(self) -> ClassTable:
        assert self.head.classes is not None, "a head of classes has a table"
        return self.head.classes

    def _write_map(self, path: Path, decoder: Decoder, tally: Tally) -> None:
        target = self.head.target

        def classes(window: Window) -> NDArray[Any]:
            values = decoder.classes(window, self._classes, self.options.smooth)
            tally.add_classes(values, self._classes)
            return values

        def numbers(window: Window) -> NDArray[Any]:
            assert target is not None, "a head without classes has a target"
            values = decoder.numbers(window, target)
            tally.add_numbers(values, target.nodata)
            return values

        if self.head.classes is None:
            _write_raster(path, numbers, self._number_spec)
        else:
            _write_raster(path, classes, self._class_spec, self._classes)

    def _write_polygons(self, raster: Path, path: Path) -> None:
        pixels, metres = (self.options.min_area, 0.0) if self.grid.crs is None else (0.0, self.options.min_area)
        simplify = self.options.simplify
        polygonise(raster, self._classes, path, simplify_px=simplify, min_area_m2=metres, min_area_px=pixels)

    @property
    def _class_spec(self) -> RasterSpec:
        table = self._classes
        named = dict(zip(map(str, table.values), table.names, strict=True))
        return RasterSpec(
            grid=self.grid,
            bands=1,
            dtype=table.dtype,
            nodata=table.nodata,
            descriptions=["class"],
            tags=self.tags | {"classes": json.dumps(named, ensure_ascii=False)},
            colours=dict(zip(table.values, table.colours, strict=True)) if table.dtype == "uint8" else None,
            overviews=Overviews.MOST,
        )

    @property
    def _number_spec(self) -> RasterSpec:
        target = self.head.target
        assert target is not None, "a head without classes has a target"
        return RasterSpec(
            grid=self.grid,
            bands=1,
            dtype="float32",
            nodata=target.nodata,
            descriptions=[target.name],
            tags=self.tags,
            unit=target.unit,
            overviews=Overviews.MEAN,
        )

    def _share_spec(self, names: list[str] | tuple[str, ...]) -> RasterSpec:
        stored = self.options.stored
        coded = stored is ShareType.UINT8
        return RasterSpec(
            grid=self.grid,
            bands=len(names),
            dtype=stored.value,
            nodata=stored.nodata,
            descriptions=names,
            tags=self.tags,
            scales=[1 / STEPS] * len(names) if coded else None,
            offsets=[0.0] * len(names) if coded else None,
            overviews=Overviews.MEAN if len(names) == 1 else None,
        )


def _polygon_style(files: MapFiles) -> tuple[Path, ...]:
    """Return where the style of polygons goes; a map of the same name shares its own with them."""
    return () if files.polygons is None else (style_files(files.polygons)[1],)


def _write_raster(path: Path, blocks: Blocks, spec: RasterSpec, classes: ClassTable | None = None) -> None:
    """Write one raster as its ending says; heeds the wish to stop."""
    if is_zarr(path):
        name = "classes" if classes is not None else "values"
        write_zarr(path, blocks, spec, name, classes=classes, on_block=check_stop)
    else:
        write_cog(path, blocks, spec, check_stop)


def _smooths(options: MapOptions) -> bool:
    return options.smooth is not Smooth.NONE
