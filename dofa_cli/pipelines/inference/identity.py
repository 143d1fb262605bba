"""What the shards of a run belong to: everything that their values depend on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

from platformdirs import user_cache_path

from dofa_cli.pipelines.inference.run import Request, Run
from dofa_cli.pipelines.scenes.prepare import Prepared
from dofa_cli.pipelines.shards.manifest import Fingerprint, Manifest, fingerprint

ADDRESS = ("http://", "https://", "/vsicurl/")
NO_MATTER = ("weights", "weights_sha256", "float32_cosine")
"""Tags that say what shards do not depend on, or that stand elsewhere in the manifest."""


def run_manifest(request: Request, run: Run, verb: str, **more: Any) -> Manifest:
    """Describe a settled run of ``verb``; ``more`` are options that only this verb has."""
    tags = {name: value for name, value in run.tags.items() if name not in NO_MATTER}
    others = [str(one) for one in (request.aoi, request.scene.masks.file) if one]
    return Manifest(
        verb=verb,
        inputs=fingerprints([*request.paths, *others], run.prepared),
        weights=run.weights.name,
        weights_sha256=run.weights.sha256,
        options=tags
        | {
            "aoi": PurePath(request.aoi).name if request.aoi else None,
            "grid": place(run.prepared),
            "masks": asdict(replace(request.scene.masks, file=None)),  # the file is an input
            "shard": run.plan.per_tile,
            "batch size": run.batch,
            "device": run.encoder.device.type,
        }
        | more,
    )


def fingerprints(paths: Iterable[str], prepared: Prepared) -> tuple[Fingerprint, ...]:
    """Describe the files that were named, and those of the scene's bands."""
    own = [band.path for band in prepared.scene.bands if _is_file(band.path)]
    return tuple(map(fingerprint, dict.fromkeys([*paths, *own])))


def place(prepared: Prepared) -> list[Any]:
    """Return a scene's transform, CRS and size as plain values."""
    grid = prepared.scene.grid
    return [*grid.transform[:6], grid.crs.to_string() if grid.crs else None, grid.height, grid.width]


def _is_file(path: str) -> bool:
    """Whether a band's path is an address or a file of the user's, not text of GDAL's or a view in our cache."""
    if path.startswith(ADDRESS):
        return True
    try:
        return Path(path).is_file() and user_cache_path("dofa") not in Path(path).parents
    except OSError:
        return False
