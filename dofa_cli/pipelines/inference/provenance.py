"""What an output says of its making: enough to make it again, and to read its values."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from dofa_cli import __version__
from dofa_cli.model.patch_embed import PADDING
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.scenes.prepare import Prepared
from dofa_cli.raster.grid import TilePlan
from dofa_cli.sensors.normalise import BandNorm


def provenance(
    prepared: Prepared, weights: Weights, encoder: Encoder, plan: TilePlan, *, min_valid: float, level: str
) -> dict[str, str]:
    """Collect the tags of a run: every value is text, lists and rules are JSON.

    ``cell_offset_px`` says that a cell's token sees pixels from one before its own, ``scene_px`` is the scene's height
    and width, ``lead_px`` how far the cells begin before it, in zoomed pixels.
    """
    facts: dict[str, Any] = {
        "dofa_version": __version__,
        "level": level,
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "architecture": weights.config.to_json(),
        "token_norm": weights.norm_in_use(encoder.token_norm),
        "precision": encoder.precision.value,
        "backend": encoder.backend.name.value,
        **({"int8_ranges": encoder.ranges.digest} if encoder.ranges else {}),
        "sensor": prepared.sensor.id,
        "product": prepared.product.id,
        "bands": ",".join(norm.band for norm in prepared.norms),
        "wavelengths_um": ",".join(f"{value:g}" for value in prepared.wavelengths_um),
        "normalization": json.dumps(rules(prepared)),
        "patch_px": plan.grid.patch,
        "zoom": plan.grid.zoom,
        "window_px": plan.window * plan.grid.patch,
        "overlap_px": plan.overlap * plan.grid.patch,
        "min_valid": min_valid,
        "cell_offset_px": -PADDING,
        "scene_px": f"{plan.grid.height},{plan.grid.width}",
        "lead_px": f"{plan.grid.lead_row},{plan.grid.lead_col}",
        "source": ",".join(PurePath(path).name for path in prepared.scene.paths),
        **({"masked": "; ".join(prepared.masked)} if prepared.masked else {}),
        **({"datetime": prepared.scene.taken.isoformat()} if prepared.scene.taken else {}),
    }
    return {name: str(value) for name, value in facts.items()}


def rules(prepared: Prepared) -> list[dict[str, Any]]:
    """Return each band's rule: wavelength in µm, formula on the file's values ``x``, mean, std and their origin."""
    return [rule(norm) for norm in prepared.norms]


def rule(norm: BandNorm) -> dict[str, Any]:
    """Return one band's rule, its formula as text."""
    return norm.to_plain() | {"scale": norm.scale.describe()}
