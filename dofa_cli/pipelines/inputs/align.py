"""An input brought onto the pixels of its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dofa_cli.pipelines.scenes.prepare import Prepared
from dofa_cli.pipelines.scenes.screen import MaskOptions, masked_share, screened
from dofa_cli.raster.header import Header
from dofa_cli.raster.scene import open_scene
from dofa_cli.raster.source import Grid


def on_grid(prepared: Prepared, headers: Sequence[Header], masks: MaskOptions, grid: Grid) -> Prepared:
    """Return a scene on another grid, resampled lazily; pixels that its files do not reach are invalid.

    Rules stay those of the scene as it is. Clouds and masks are laid on anew. A scene on that grid stays as it is.
    """
    scene = prepared.scene
    if scene.grid.is_same(grid):
        return prepared
    unsaid = (told for band, told in zip(scene.bands, scene.nodata, strict=True) if band.nodata is None)
    found = open_scene(headers, scene.bands, default_nodata=next(unsaid, None), onto=grid)
    screens = screened(headers, grid, masks)
    for screen in screens:
        found = found.without(screen.mask)
    return replace(prepared, scene=replace(found, nodata=scene.nodata), masked_share=masked_share(screens))
