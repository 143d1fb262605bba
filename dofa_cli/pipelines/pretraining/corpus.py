"""Patterns of files to the sources that pretraining draws from, and a list of what was used and what left out."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from glob import glob
from pathlib import Path

import numpy as np
import torch

from dofa_cli.errors import BandMismatch, SceneError, SceneNotFound
from dofa_cli.pipelines.pretraining.drawable import Candidate, Paths, Ruled, image_of, with_rules
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.deliveries.unpack import unpack
from dofa_cli.raster.scene import read_headers
from dofa_cli.sensors.normalise import BandNorm
from dofa_cli.training.config import Data, SourceConfig
from dofa_cli.training.data import CropRules, Image, Source

RASTERS = {".tif", ".tiff", ".jp2", ".img", ".vrt", ".nc", ".dat", ".bsq", ".jpg", ".jpeg", ".png"}
"""Files of a folder that are taken as the bands of one scene."""
CPU = torch.device("cpu")
TRAINED, HELD = "trained on", "held out"


@dataclass(frozen=True)
class Listed:
    """A file, the checksum of its content, and its use: a line of the run folder's ``images.csv``."""

    source: str
    path: str
    sha256: str
    use: str


@dataclass(frozen=True)
class Opened:
    """A source, the rules of its first image, a line for each of its files, and the bytes kept in memory."""

    source: Source
    norms: tuple[BandNorm, ...]
    listed: tuple[Listed, ...]
    nbytes: int

    @property
    def line(self) -> str:
        """Say what the source holds and what was left out."""
        source, counts = self.source, Counter(file.use for file in self.listed)
        held = f" and {len(source.held_out)} held out" if source.held_out else ""
        text = f"{source.name}: {len(source.images)} images{held}, {len(source.bands)} bands"
        left = [f"{count} {use}" for use, count in counts.items() if use not in (TRAINED, HELD)]
        return f"{text}, {self.nbytes / 1e6:.0f} MB in memory" + (f"; left out: {', '.join(left)}" if left else "")


def open_source(wanted: SourceConfig, data: Data, rules: CropRules, family: str, room: int) -> Opened:
    """Open the scenes of a source; those that fit into ``room`` bytes together are read into memory.

    Scenes that are excluded, unreadable, too small or without valid pixels are left out. Raises :class:`SceneNotFound`
    when no file matches, :class:`SceneError` when nothing is left, and what
    :mod:`dofa_cli.pipelines.scenes.prepare` raises.
    """
    excluded = excluded_contents(data.exclude)
    found = list(_scenes(wanted, excluded))
    images: list[tuple[Image, Ruled]] = []
    standardisers: dict[tuple[BandNorm, ...], Standardiser] = {}
    nbytes = 0
    candidates = [scene.candidate for scene in found if scene.candidate]
    uses = {scene.paths: scene.use for scene in found}
    for ruled in with_rules(candidates, options_of(wanted), family):
        standardise = standardisers.setdefault(ruled.norms, Standardiser(ruled.norms, CPU))
        image = image_of(ruled, standardise, rules.side(wanted.zoom), room - nbytes)
        if isinstance(image, str):
            uses[ruled.candidate.paths] = image
            continue
        nbytes += ruled.nbytes if image.in_memory else 0
        images.append((image, ruled))
    if not images:
        raise SceneError(_nothing_left(wanted, rules, uses))
    norms = _shared_norms(wanted, [ruled for _, ruled in images])
    held = _spread(len(images), int(len(images) * data.held_out))
    uses |= {ruled.candidate.paths: HELD if n in held else TRAINED for n, (_, ruled) in enumerate(images)}
    source = Source(
        name=wanted.name,
        sensor=images[0][1].prepared.sensor.id,
        bands=tuple(norm.band for norm in norms),
        wavelengths_um=tuple(norm.wavelength_um for norm in norms),
        images=tuple(image for n, (image, _) in enumerate(images) if n not in held),
        held_out=tuple(images[n][0] for n in sorted(held)),
        zoom=wanted.zoom,
        shrink=wanted.shrink,
        batch=wanted.batch,
        most_bands=wanted.most_bands,
        masked=wanted.masked,
        taught=wanted.taught,
    )
    listed = (Listed(wanted.name, *pair, uses[scene.paths]) for scene in found for pair in scene.files)
    return Opened(source, norms, tuple(listed), nbytes)


def options_of(wanted: SourceConfig) -> SceneOptions:
    """Return how the scenes of a source are to be understood."""
    return SceneOptions(
        sensor=wanted.sensor,
        wavelengths=wanted.wavelengths,
        bands=wanted.bands,
        product=wanted.product,
        scale=wanted.scale,
        offset=wanted.offset,
        normalize=Normalize(wanted.normalize),
        masks=MaskOptions(clouds=wanted.mask_clouds),
    )


@cache
def excluded_contents(patterns: tuple[str, ...]) -> frozenset[str]:
    """Return the checksums of the files that match; :class:`SceneNotFound` for a pattern that matches none."""
    found: set[str] = set()
    for pattern in patterns:
        files = [path for path in _matching(pattern) if Path(path).is_file()]
        if not files:
            raise SceneNotFound(f"No file matches '{pattern}' (exclude in [data]).")
        found.update(map(content_sha256, files))
    return frozenset(found)


def content_sha256(path: str) -> str:
    """Return the checksum of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_list(path: Path, listed: Iterable[Listed]) -> None:
    """Write ``images.csv``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(field.name for field in fields(Listed))
        table.writerows(astuple(line) for line in listed)


@dataclass(frozen=True)
class _Scene:
    """A scene of a pattern; ``files`` are those that it is read from, each with its checksum.

    Without a ``candidate`` it is of no use, for the reason that ``use`` states.
    """

    paths: Paths
    files: tuple[tuple[str, str], ...]
    candidate: Candidate | None
    use: str


def _scenes(wanted: SourceConfig, excluded: frozenset[str]) -> Iterator[_Scene]:
    """Yield the scenes of a source with their headers read."""
    for paths in _paths(wanted):
        try:
            candidate = Candidate(paths, tuple(read_headers(paths)))
        except SceneError:
            yield _Scene(paths, _summed(paths), None, "unreadable")
            continue
        files = _summed(dict.fromkeys(header.path for header in candidate.headers))
        if excluded.isdisjoint(sha256 for _, sha256 in files):
            yield _Scene(paths, files, candidate, "damaged")
        else:
            yield _Scene(paths, files, None, "excluded")


def _summed(files: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return files with their checksums, empty for what is no local file."""
    return tuple((path, content_sha256(path) if Path(path).is_file() else "") for path in files)


def _paths(wanted: SourceConfig) -> Iterator[Paths]:
    """Yield what each scene is read from: one file, one product, or the rasters of one folder."""
    matches = _matching(wanted.path)
    if not matches:
        raise SceneNotFound(f"No file matches '{wanted.path}' (source '{wanted.name}').")
    for path in matches:
        if not Path(path).is_dir() or unpack(path) is not None:
            yield (path,)
        elif inside := [file for file in sorted(Path(path).iterdir()) if file.suffix.lower() in RASTERS]:
            yield tuple(map(str, inside))


def _matching(pattern: str) -> list[str]:
    return sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern


def _shared_norms(wanted: SourceConfig, ruled: Sequence[Ruled]) -> tuple[BandNorm, ...]:
    """Return the rules of the first scene; :class:`BandMismatch` for one with other bands or wavelengths."""
    first, *others = ruled
    told = [(norm.band, norm.wavelength_um) for norm in first.norms]
    for other in others:
        if [(norm.band, norm.wavelength_um) for norm in other.norms] != told:
            raise BandMismatch(
                f"Source '{wanted.name}': {first.candidate.paths[0]} has bands {_bands(first)}, "
                f"{other.candidate.paths[0]} has {_bands(other)}. Name the bands that all have, or make two sources."
            )
    return first.norms


def _bands(ruled: Ruled) -> str:
    names = [norm.band for norm in ruled.norms]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _nothing_left(wanted: SourceConfig, rules: CropRules, uses: dict[Paths, str]) -> str:
    counts = ", ".join(f"{count} {use}" for use, count in Counter(uses.values()).items()) or "no rasters"
    side = rules.side(wanted.zoom)
    return (
        f"Source '{wanted.name}': none of the {len(uses)} scenes of '{wanted.path}' can be used ({counts}). "
        f"Crops are {side} pixels wide; zoom = 2 takes half as many."
    )


def _spread(count: int, wanted: int) -> set[int]:
    """Choose numbers below ``count``, evenly spread."""
    return set(np.linspace(0, count - 1, wanted + 2)[1:-1].round().astype(int).tolist()) if wanted else set()
