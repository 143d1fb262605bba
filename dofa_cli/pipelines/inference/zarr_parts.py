"""Shards of embeddings as regions of one Zarr store, written by whoever runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dofa_cli.errors import OutputUnwritable
from dofa_cli.pipelines.shards.files import checked
from dofa_cli.pipelines.shards.store import parts_path
from dofa_cli.raster.grid import TilePlan, Window
from dofa_cli.raster.writer import RasterSpec
from dofa_cli.raster.zarr_layout import ZarrLayout
from dofa_cli.raster.zarr_places import check_store, is_url
from dofa_cli.raster.zarr_store import create, is_own, write_region

ARRAY = "embedding"


def store_place(zarr: str, folder: Path) -> str | Path:
    """Return where shards are written: an address itself, or a store of that name among the parts in ``folder``."""
    return zarr if is_url(zarr) else folder / zarr


def check_begun(zarr: str, output: Path, *, overwrite: bool, inputs: tuple[str, ...]) -> None:
    """Fail before any work where a store cannot be written; one at an address that was begun may be gone on with.

    Raises :class:`OutputExists` or :class:`OutputUnwritable`.
    """
    begun = is_url(zarr) and parts_path(output).exists() and is_own(zarr)
    check_store(zarr if is_url(zarr) else output, overwrite=overwrite or begun, inputs=inputs)


def begin_regions(zarr: str, folder: Path, spec: RasterSpec, plan: TilePlan, *, kept: int) -> None:
    """Make the store, unless an earlier run did of which ``kept`` shards stand in it.

    Raises :class:`OutputUnwritable` where those shards are gone with their store.
    """
    place = store_place(zarr, folder)
    if kept and is_own(place):  # finished or not: a run may end between that and its last step
        return
    if kept:
        raise OutputUnwritable(f"{zarr} no longer holds the {kept} finished shards. Remove {folder} to start anew.")
    create(place, ZarrLayout(ARRAY, spec, plan.core_side))


def save_region(zarr: str, folder: Path, core: Window, values: NDArray[Any]) -> dict[str, tuple[int, int]]:
    """Write a tile's values (rows, cols, bands); return bytes and CRC-32 of its files by their names in ``folder``.

    Of an address no files are returned: what an object store has taken is whole.
    """
    names = write_region(store_place(zarr, folder), core, values)
    if is_url(zarr):
        return {}
    files = {f"{zarr}/{name}": folder / zarr / name for name in names}
    return {name: checked(path) for name, path in files.items() if path.exists()}
