"""Lay windows and tiles over a scene, and foretell what a run costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isqrt

from dofa_cli.errors import OptionError
from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.inference.memory import LEAST_PER_TILE, Demand
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.raster.area import snapped_grid
from dofa_cli.raster.grid import CellGrid, TilePlan, plan_tiles
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.scene import Scene
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import COPIES

TILE_BYTES = 256 * 2**20
"""Memory for one tile's standardised pixels and tokens; it sets how many windows make up a tile."""
MOST_TILE_BYTES = 512 * 2**20
"""The same for hundreds of bands, where 2 × 2 windows would not fit otherwise and batches would hold only one."""
MOST_PER_TILE = 16
FLOAT_BYTES = 4
PIXEL_COPIES = 2
"""Standardised pixels and what resampling or masking holds beside them."""
RESULT_COPIES = 3
"""Results of a tile at once, beside those of its windows: their sum, their mean, and what is written."""
LAYER_COPIES = 8
"""Arrays as large as a window's tokens that a layer of the network holds at once."""
PROCESS_BYTES = 1400 * 2**20
"""What Python, PyTorch, the reader's and GDAL's block caches take, and what malloc keeps: 1270 MiB were measured."""
TOKEN_CACHE_BYTES = 512 * 2**20
"""Most bytes of tokens that are kept for later tiles."""


@dataclass(frozen=True)
class GridOptions:
    """Where windows lie; fields are the command line's options of the same names, sizes in zoomed pixels."""

    window: int | None = None
    overlap: int | None = None
    zoom: int = 1
    snap: bool = False
    min_valid: float = 0.5
    shard: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a run will take: bytes of memory, of output values, and of disk at once; km² of ground (None if unknown)."""

    memory: int
    output: int
    disk: int
    area_km2: float | None


def check_grid_options(options: GridOptions, patch: int) -> None:
    """Raise :class:`OptionError` for sizes that no windows can have."""
    if options.zoom < 1:
        raise OptionError(f"--zoom {options.zoom} is below 1.")
    if not 0 <= options.min_valid <= 1:
        raise OptionError(f"--min-valid {options.min_valid:g} is not a share from 0 to 1.")
    for name, size in (("--window", options.window), ("--overlap", options.overlap)):
        if size is not None and (size % patch or size < 0):
            near = max(patch, round(size / patch) * patch)
            raise OptionError(f"{name} {size} is not a multiple of the patch of {patch} pixels. Try {near}.")
    if options.window == 0 or (options.shard is not None and options.shard < 1):
        raise OptionError("--window and --shard must be above 0.")


def lay_out(
    scene: Scene, config: DofaConfig, options: GridOptions, *, whole_windows: bool, cell_values: int | None = None
) -> TilePlan:
    """Lay windows over a scene: the network's native size, overlapping by a quarter unless ``whole_windows``.

    ``cell_values`` is the number of values that results hold a cell (by default a token's).
    """
    patch = config.patch_size
    check_grid_options(options, patch)
    window = (options.window or config.image_size) // patch
    overlap = _overlap(options, patch, window, whole_windows=whole_windows)
    if overlap >= window:
        raise OptionError(f"--overlap {overlap * patch} leaves nothing of a window of {window * patch} pixels.")
    if options.snap:
        grid = snapped_grid(scene, patch, options.zoom)
    else:
        grid = CellGrid(scene.height, scene.width, patch, options.zoom)
    per_tile = options.shard or windows_per_tile(config, len(scene.bands), window, overlap, cell_values)
    return plan_tiles(grid, window, overlap, inward=not whole_windows, per_tile=per_tile)


def windows_per_tile(config: DofaConfig, bands: int, window: int, overlap: int, cell_values: int | None = None) -> int:
    """Return how many windows a side fit a tile of :data:`TILE_BYTES`: an even number, which fills whole batches."""
    patch = config.patch_size
    bytes_a_cell = 4 * (3 * bands * patch * patch + 2 * (cell_values or config.embed_dim))

    def fitting(most_bytes: int) -> int:
        return (isqrt(most_bytes // bytes_a_cell) - overlap) // (window - overlap)

    usual = min(MOST_PER_TILE, fitting(TILE_BYTES))
    if usual >= LEAST_PER_TILE:
        return usual - usual % 2
    return LEAST_PER_TILE if fitting(MOST_TILE_BYTES) >= LEAST_PER_TILE else 1


def output_grid(scene: Scene, plan: TilePlan) -> Grid:
    """Return the grid of the cells: the scene's CRS and origin, pixels of patch / zoom scene pixels."""
    cells = plan.grid
    origin = scene.grid.transform.translation(-cells.lead_col / cells.zoom, -cells.lead_row / cells.zoom)
    step = scene.grid.transform.scale(cells.patch / cells.zoom)
    return Grid(scene.grid.transform @ origin @ step, scene.grid.crs, cells.rows, cells.cols)


def cost(scene: Scene, plan: TilePlan, dim: int, dtype: OutputDtype, memory: int) -> Cost:
    """Foretell memory, disk and ground of a run that stores ``dim`` values a cell (estimates)."""
    output = plan.grid.rows * plan.grid.cols * dim * dtype.bytes
    return Cost(memory, output, COPIES * output, ground_km2(scene))


def demand(scene: Scene, plan: TilePlan, config: DofaConfig, cell_values: int | None = None) -> Demand:
    """Return what a run's memory follows from (estimates).

    A cell's pixels stand there as they were read, once for each tile read ahead, and standardised in float32; its
    ``cell_values`` results as those of each window over it, as their sum, and as what is written.
    """
    pixels = len(scene.bands) * (plan.grid.patch / plan.grid.zoom) ** 2
    fine_pixels = len(scene.bands) * plan.grid.patch**2
    over_a_cell = (plan.window / (plan.window - plan.overlap)) ** 2
    results = (cell_values or config.embed_dim) * (RESULT_COPIES + over_a_cell)
    return Demand(
        plan=plan,
        fixed=process_bytes(config) + _kept_tokens(plan, cell_values or config.embed_dim),
        window=window_bytes(config, len(scene.bands), plan.window),
        cell=int(FLOAT_BYTES * (fine_pixels * PIXEL_COPIES + results)),
        raw_cell=int(pixels * scene.pixels.dtype.itemsize),
    )


def process_bytes(config: DofaConfig) -> int:
    """Return what a process with its caches and a network takes (an estimate)."""
    return PROCESS_BYTES + _parameters(config) * FLOAT_BYTES


def window_bytes(config: DofaConfig, bands: int, window: int) -> int:
    """Return what a window of ``window`` × ``window`` cells takes in a forward (an estimate)."""
    return FLOAT_BYTES * window**2 * (config.embed_dim * LAYER_COPIES + bands * config.patch_size**2)


def ground_km2(scene: Scene) -> float | None:
    """Return the scene's area in km², from the pixel at its centre; ``None`` without coordinates."""
    pixel = ground_pixel(scene.grid)
    return None if pixel is None else pixel.height * pixel.width * scene.height * scene.width / 1e6


def _overlap(options: GridOptions, patch: int, window: int, *, whole_windows: bool) -> int:
    if whole_windows:
        if options.overlap:
            raise OptionError("--level window and --level scene use windows side by side; leave --overlap out.")
        return 0
    return window // 4 if options.overlap is None else options.overlap // patch


def _kept_tokens(plan: TilePlan, values: int) -> int:
    """Return the bytes of results of the windows that reach into the tiles below, for a row of tiles."""
    step = plan.window - plan.overlap
    windows = ceil(plan.overlap / step) * ceil(plan.grid.cols / step)
    return min(TOKEN_CACHE_BYTES, FLOAT_BYTES * windows * plan.window**2 * values)


def _parameters(config: DofaConfig) -> int:
    blocks = 12 * config.embed_dim**2 * config.depth
    return blocks + 128 * config.patch_size**2 * config.embed_dim
