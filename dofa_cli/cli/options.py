"""Options that several commands share, in the words of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dofa_cli.errors import OptionError

_SCENE, _MODEL, _GRID, _RUN = "The scene", "The network", "Windows and cells", "The run"

Files = Annotated[
    list[str],
    typer.Argument(
        help="A raster, or the band files of one scene. Paths, http(s) addresses and /vsi paths.",
        show_default=False,
    ),
]
SCENES = (
    "A raster, or the band files of one scene: paths, http(s) addresses and /vsi paths. Many scenes: folders, quoted "
    "patterns, lists (.txt, .csv, .parquet), STAC item collections, or several files with -o FOLDER/."
)
Scenes = Annotated[list[str], typer.Argument(help=SCENES, show_default=False)]
FileOrFolder = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        help="Output file; for many scenes a folder (existing, or ending in /). Default: named after the scene, in the "
        "current folder.",
    ),
]

Sensor = Annotated[
    str | None,
    typer.Option(help="Instrument: an id such as sentinel2, or a .toml file.", rich_help_panel=_SCENE),
]
Wavelengths = Annotated[
    str | None,
    typer.Option(
        help="Wavelengths in µm in the order of the file's bands, instead of --sensor: 0.665,0.56,0.49.",
        rich_help_panel=_SCENE,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Bands to use: a preset (rgb, trained, all), names (B04,B03,B02) or file bands (B04=3,B03=2). "
        "For an unnamed stack: all its bands, in file order.",
        rich_help_panel=_SCENE,
    ),
]
Product = Annotated[
    str | None,
    typer.Option(
        help="What the values are, where the file does not tell: l1c, l2a-0400, sigma0-db, …",
        rich_help_panel=_SCENE,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(help="Reflectance = value · scale + offset, over the product's own.", rich_help_panel=_SCENE),
]
Offset = Annotated[float | None, typer.Option(help="See --scale.", rich_help_panel=_SCENE)]
Normalize = Annotated[
    str,
    typer.Option(
        help="Whose statistics standardise pixels: sensor, scene (its own; seams between scenes), or none.",
        rich_help_panel=_SCENE,
    ),
]
Aoi = Annotated[
    Path | None,
    typer.Option(
        help="Vector file with polygons: only cells that touch them, pixels outside masked.",
        rich_help_panel=_SCENE,
    ),
]
MaskClouds = Annotated[
    bool,
    typer.Option(
        "--mask-clouds",
        help="Leave out clouds, their shadows and cirrus by the product's own quality layer.",
        rich_help_panel=_SCENE,
    ),
]
MaskSnow = Annotated[
    bool, typer.Option("--mask-snow", help="With --mask-clouds: leave out snow and ice too.", rich_help_panel=_SCENE)
]
KeepCirrus = Annotated[
    bool, typer.Option("--keep-cirrus", help="With --mask-clouds: keep thin cirrus.", rich_help_panel=_SCENE)
]
CloudDilate = Annotated[
    int, typer.Option(help="Widen what is masked by this many scene pixels.", min=0, rich_help_panel=_SCENE)
]
Mask = Annotated[
    str | None,
    typer.Option(help="Raster on any grid; pixels that are not 0 there are left out.", rich_help_panel=_SCENE),
]
MaskValues = Annotated[
    str | None,
    typer.Option(help="Values of --mask that are left out, instead of all but 0: 3,8,9.", rich_help_panel=_SCENE),
]
Warp = Annotated[
    str | None,
    typer.Option(help="Warp to this CRS while reading; needed without an affine grid.", rich_help_panel=_SCENE),
]
Resolution = Annotated[
    float | None,
    typer.Option(help="Pixel size in CRS units to read at. Default: the finest band's.", rich_help_panel=_SCENE),
]

Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights by name (dofa weights list) or path.",
        envvar="DOFA_DEFAULT_WEIGHTS",
        rich_help_panel=_MODEL,
    ),
]
TrustWeights = Annotated[
    bool,
    typer.Option("--trust-weights", help="Load a file whose kernel layout cannot be told.", rich_help_panel=_MODEL),
]
TokenNorm = Annotated[
    str,
    typer.Option(
        help="Final norm of patch tokens: trained, or none (the published un-normed output).",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=_MODEL)]
Precision = Annotated[
    str,
    typer.Option(help="auto, float32, bfloat16, float16 (GPU) or int8 (CPU, tokens alone).", rich_help_panel=_MODEL),
]
Backend = Annotated[
    str,
    typer.Option(help="What computes on a CPU: auto, torch, compiled or openvino.", rich_help_panel=_MODEL),
]
BatchSize = Annotated[str, typer.Option(metavar="auto|N", help="Windows a forward.", rich_help_panel=_MODEL)]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        help="Most memory of the run, like 4GB: smaller tiles, then smaller batches. Default: as the machine has it.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]

Window = Annotated[
    int | None,
    typer.Option(help="Window side in pixels after zoom. Default: the network's native size.", rich_help_panel=_GRID),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        help="Overlap of windows in pixels after zoom. Default: a quarter of the window.",
        rich_help_panel=_GRID,
    ),
]
Zoom = Annotated[
    int,
    typer.Option(min=1, help="Enlarge pixels N times, so that a cell covers fewer of them.", rich_help_panel=_GRID),
]
Snap = Annotated[
    bool,
    typer.Option("--snap", help="Align cells to multiples of their size in the CRS.", rich_help_panel=_GRID),
]
MinValid = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of a cell's pixels that must be valid.", rich_help_panel=_GRID),
]
Shard = Annotated[
    int | None,
    typer.Option(help="Windows a side in a unit of work. Sets memory, never the result.", rich_help_panel=_RUN),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.", rich_help_panel=_RUN)]
KeepParts = Annotated[
    bool,
    typer.Option(
        "--keep-parts", help="Leave the finished shards beside the output when it is whole.", rich_help_panel=_RUN
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show grid, rules, memory, size and time; write nothing.", rich_help_panel=_RUN),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_RUN)]


Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="cog (GeoTIFF) or zarr (sharded Zarr v3). Default: as the output ends, else cog.",
        show_default=False,
    ),
]


def choice(name: str, value: str, *allowed: str) -> str:
    """Return ``value`` if it is one of ``allowed``; :class:`OptionError` names them."""
    if value not in allowed:
        raise OptionError(f"{name} '{value}' is not one of {', '.join(allowed)}.")
    return value


def raster_format(value: str | None) -> str | None:
    """Read ``--format``; ``None`` for what the output's ending says."""
    return None if value is None else choice("--format", value, "cog", "zarr")


def memory(value: str | None) -> int | None:
    """Read a size such as ``4GB``, in bytes; ``None`` for no limit. Raises :class:`OptionError`."""
    if value is None:
        return None
    from dofa_cli.pipelines.inference.memory import read_size

    return read_size(value)


def batch(value: str) -> int | None:
    """Read ``auto`` (``None``) or a number of windows above 0."""
    if value == "auto":
        return None
    if not value.isdigit() or int(value) < 1:
        raise OptionError(f"--batch-size '{value}' is neither auto nor a number above 0.")
    return int(value)
