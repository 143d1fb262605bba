"""A raster as a sharded Zarr v3 store, written region by region, also by several processes at once.

A region is one or several whole shards, each of which is one file or object: no two writers touch the same. The store
says ``complete`` only after :func:`finish`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import DamagedRaster
from dofa_cli.raster.grid import Window
from dofa_cli.raster.zarr_layout import (
    DIMENSIONS,
    GRID_MAPPING,
    ZarrLayout,
    array_attributes,
    axes,
    grid_attributes,
    group_attributes,
)
from dofa_cli.raster.zarr_places import first_line, is_url, local_path, store_explained

COMPLETE = "complete"
ARRAY = "dofa:array"
"""Attribute of the store that names its raster."""
_TORN = "*.partial"
"""How Zarr names files that it has not finished."""
VALUES_LEVEL, CLASSES_LEVEL = 1, 9
"""ZSTD levels: floats hardly shrink further, class maps do, and are small."""


def create(url: str | Path, layout: ZarrLayout) -> None:
    """Make the store with its coordinates and an empty array; nothing is ``complete`` yet. An older one is replaced."""
    with store_explained(url):
        group = _zarr().create_group(_store(url), zarr_format=3, overwrite=True)
        group.attrs.put(group_attributes(layout) | {ARRAY: layout.name, COMPLETE: False})
        array = group.create_array(
            layout.name,
            shape=layout.shape,
            chunks=layout.chunks,
            shards=None if layout.shards == layout.chunks else layout.shards,
            dtype=layout.dtype,
            fill_value=layout.dtype.type(layout.spec.nodata),
            compressors=_compressor(layout),
            dimension_names=DIMENSIONS,
        )
        array.attrs.put(array_attributes(layout))
        _write_coordinates(group, layout)


def write_region(url: str | Path, window: Window, values: NDArray[Any]) -> list[str]:
    """Write ``values`` (rows, cols, bands) under ``window``, which must be whole shards or reach to the edge.

    Several processes may write different regions at once. Returns the names, within the store, of the shards' files; a
    shard that is nodata throughout leaves none. Raises :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    with store_explained(url):
        array = _array(_open(url, "r+"))
        _, height, width = array.shape
        shard = _shards(array)
        for first, end, side, size in (
            (window.row, window.bottom, shard[1], height),
            (window.col, window.right, shard[2], width),
        ):
            assert first % side == 0 and (end % side == 0 or end == size), "a region is whole shards"  # noqa: PT018
        rows, cols = window.slices
        array[:, rows, cols] = np.ascontiguousarray(values.transpose(2, 0, 1), dtype=array.dtype)
    return list(_keys(array, window))


def finish(url: str | Path, tags: dict[str, str] | None = None) -> None:
    """Declare the store ``complete``, with ``tags`` that are known only now, its metadata in one file."""
    with store_explained(url):
        group = _open(url, "r+")
        if tags:
            _array(group).attrs.update(tags)
        group.attrs.update({**(tags or {}), COMPLETE: True})
        if not is_url(url):
            for torn in local_path(url).rglob(_TORN):
                torn.unlink()  # of a writer that was killed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of Zarr: other programs may not know this addition
            _zarr().consolidate_metadata(group.store)


def is_own(url: str | Path) -> bool:
    """Whether a store is one of this program, finished or not."""
    return ARRAY in _attributes(url)


def is_begun(url: str | Path) -> bool:
    """Whether regions can be written to a store: it was created and not finished."""
    found = _attributes(url)
    return ARRAY in found and not found.get(COMPLETE)


def is_complete(url: str | Path) -> bool:
    """Whether a store is there and was finished."""
    return bool(_attributes(url).get(COMPLETE))


def open_array(url: str | Path) -> tuple[Any, dict[str, Any]]:
    """Open a finished store of this program: its Zarr array (band, y, x), and the store's attributes.

    Raises :class:`DamagedRaster` for other stores, and for one that was never finished.
    """
    try:
        group = _open(url, "r")
        attributes = dict(group.attrs)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DamagedRaster(f"{url} cannot be opened as a Zarr store: {first_line(error)}") from None
    if ARRAY not in attributes:
        raise DamagedRaster(f"{url} is a Zarr store that dofa did not write. Convert it to a GeoTIFF first.")
    if not attributes.get(COMPLETE):
        raise DamagedRaster(f"{url} was never finished. Run the command that writes it again; it goes on from there.")
    return _array(group), attributes


def _attributes(url: str | Path) -> dict[str, Any]:
    """Return the attributes of a store, none where there is no store."""
    try:
        return dict(_open(url, "r").attrs)
    except (OSError, ValueError, KeyError, ImportError):
        return {}


def _write_coordinates(group: Any, layout: ZarrLayout) -> None:
    grid, spec = layout.spec.grid, layout.spec
    found: dict[str, tuple[NDArray[Any], tuple[str, ...], dict[str, Any]]] = {
        name: (centres, (name,), attributes) for name, (centres, attributes) in axes(grid).items()
    }
    found["band"] = (np.arange(spec.bands, dtype=np.int32), ("band",), {"long_name": "number of the band"})
    found[GRID_MAPPING] = (np.zeros((), np.int32), (), grid_attributes(grid))
    if spec.scales is not None and spec.offsets is not None:
        meaning = f"value = {layout.name} * scale + offset"
        found["scale"] = (np.asarray(spec.scales, np.float32), ("band",), {"long_name": meaning})
        found["offset"] = (np.asarray(spec.offsets, np.float32), ("band",), {"long_name": meaning})
    for name, (values, dimensions, attributes) in found.items():
        plain = {"shape": values.shape, "dtype": values.dtype, "chunks": values.shape, "compressors": None}
        array = group.create_array(name, dimension_names=dimensions, **plain)
        array[...] = values
        array.attrs.put(attributes)


def _compressor(layout: ZarrLayout) -> Any:
    """Choose a codec: bytes of like meaning side by side for numbers, plain for classes."""
    from zarr.codecs import BloscCodec, ZstdCodec

    if layout.classes is not None or layout.dtype.itemsize == 1:
        return ZstdCodec(level=CLASSES_LEVEL if layout.classes is not None else VALUES_LEVEL)
    return BloscCodec(typesize=layout.dtype.itemsize, cname="zstd", clevel=VALUES_LEVEL, shuffle="shuffle")


def _keys(array: Any, window: Window) -> Iterator[str]:
    """Yield the names of the shards under a region that were written."""
    _, height, width = _shards(array)
    folder = array.path
    for row in range(window.row // height, -(-window.bottom // height)):
        for col in range(window.col // width, -(-window.right // width)):
            yield f"{folder}/c/0/{row}/{col}"


def _shards(array: Any) -> tuple[int, ...]:
    return tuple(array.shards or array.chunks)


def _array(group: Any) -> Any:
    return group[group.attrs[ARRAY]]


def _open(url: str | Path, mode: str) -> Any:
    return _zarr().open_group(_store(url), mode=mode, zarr_format=3)


def _store(url: str | Path) -> Any:
    from zarr.storage import FsspecStore, LocalStore

    return FsspecStore.from_url(str(url)) if is_url(url) else LocalStore(local_path(url))


def _zarr() -> Any:
    import zarr  # slow to import, and only Zarr outputs need it

    return zarr
