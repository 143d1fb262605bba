"""Sentinel-1 ground-range detected products (GRD) as ESA ships them: a SAFE folder, its zip, or its manifest.

Names and fields are those of ESA's Sentinel-1 Product Specification (S1-RS-MDA-52-7441). Values are amplitudes as
digital numbers, uncalibrated, on ground control points rather than on a map grid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from dofa_cli.errors import DamagedRaster, DofaError, NoBands, ScaleMismatch
from dofa_cli.raster.deliveries.container import Container, open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery
from dofa_cli.raster.deliveries.safe import (
    elements,
    first_text,
    named,
    parse_xml,
    product_files,
    refuse_several,
    texts,
    utc_time,
)

POLARISATIONS = ("VV", "VH", "HH", "HV")
NODATA = 0.0
NOT_TERRAIN_CORRECTED = (
    "Sentinel-1 GRD is not corrected for terrain: over relief, pixels lie off their place and slopes look brighter."
)

_MANIFEST = re.compile(r"manifest\.safe$", re.IGNORECASE)
_MEASUREMENT = re.compile(
    r"s1\w-\w+-(?P<type>grd|slc)-(?P<polarisation>vv|vh|hh|hv)-(?P<start>\d{8}t\d{6})-.*\.tiff?$", re.IGNORECASE
)
_OWN_NAME = b"sentinel-1"


@dataclass(frozen=True)
class _Told:
    """What the manifest or the names of the images tell; ``listed`` are file names in lower case."""

    type: str
    taken: datetime | None
    spacecraft: str
    polarisations: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def read(path: str) -> Delivery | None:
    """Return the Sentinel-1 GRD product at ``path``, or ``None`` where there is no Sentinel-1 product.

    Raises :class:`ScaleMismatch` for complex products, :class:`NoBands` for other kinds or several products, and
    :class:`DamagedRaster` for a manifest that is cut.
    """
    own = Path(path)
    container = open_container(str(own.parent) if _MANIFEST.match(own.name) and own.is_file() else path)
    if container is None:
        return None
    files = product_files(container)
    images, manifests = named(files, _MEASUREMENT), _manifests(container, files)
    if not images and not manifests:
        return None
    refuse_several(path, "Sentinel-1 products", manifests)
    told = _from_manifest(container, manifests[0]) if manifests else _from_names(images)
    if told.type != "GRD":
        raise _refusal(path, told.type)
    return _delivery(path, container, told, images)


def _delivery(path: str, container: Container, told: _Told, images: Sequence[str]) -> Delivery:
    known = [image for image in images if PurePosixPath(image).name.lower() in told.listed]
    by_polarisation = _by_polarisation(path, known or images)
    absent = [one for one in told.polarisations if one not in by_polarisation]
    missing = (f"no image file of {', '.join(absent)} was found.",) if absent else ()
    return Delivery(
        path=path,
        kind=f"{told.spacecraft} GRD product",
        sensor="sentinel1",
        product="grd",
        bands=tuple(
            DeliveredBand(container.gdal_path(by_polarisation[one]), one, nodata=NODATA)
            for one in POLARISATIONS
            if one in by_polarisation
        ),
        taken=told.taken,
        notes=(*told.notes, *missing, NOT_TERRAIN_CORRECTED),
    )


def _by_polarisation(path: str, images: Sequence[str]) -> dict[str, str]:
    """Return one image a polarisation; copies of a file elsewhere in the product count once."""
    distinct = {PurePosixPath(image).name.lower(): image for image in sorted(images, key=len, reverse=True)}
    found: dict[str, list[str]] = {}
    for name, image in distinct.items():
        if match := _MEASUREMENT.match(name):
            found.setdefault(match["polarisation"].upper(), []).append(image)
    for polarisation, same in found.items():
        refuse_several(path, f"{polarisation} images", sorted(PurePosixPath(image).name for image in same))
    return {polarisation: same[0] for polarisation, same in found.items()}


def _manifests(container: Container, files: Sequence[str]) -> list[str]:
    """Return the manifests that are Sentinel-1's; other satellites name theirs the same."""
    return [file for file in named(files, _MANIFEST) if _OWN_NAME in container.text(file).lower()]


def _from_manifest(container: Container, member: str) -> _Told:
    root = parse_xml(container, member)
    places = (element.get("href", "") for element in elements(root, "fileLocation"))
    letter = first_text(root, "number") or ""
    kind = first_text(root, "productType")
    if kind is None:
        raise DamagedRaster(f"{member} in {container.path} states no productType. Fetch the product again.")
    return _Told(
        type=kind.upper(),
        taken=utc_time(first_text(root, "startTime")),
        spacecraft=f"Sentinel-1{letter if letter.isalpha() else ''}",
        polarisations=tuple(dict.fromkeys(texts(root, "transmitterReceiverPolarisation"))),
        listed=frozenset(PurePosixPath(place).name.lower() for place in places),
    )


def _from_names(images: Sequence[str]) -> _Told:
    """Tell kind and time from the images' names, where the manifest is missing."""
    names = [match for image in images if (match := _MEASUREMENT.match(PurePosixPath(image).name))]
    types = {match["type"].upper() for match in names}
    return _Told(
        type="SLC" if "SLC" in types else "GRD",
        taken=utc_time(names[0]["start"].upper()),
        spacecraft="Sentinel-1",
        notes=("there is no manifest.safe: kind, polarisations and time are those of the file names.",),
    )


def _refusal(path: str, kind: str) -> DofaError:
    if kind == "SLC":
        return ScaleMismatch(
            f"{path} is a Sentinel-1 SLC product, which holds complex values. Give the GRD product of the same scene, "
            "or amplitude, power or dB made from it."
        )
    return NoBands(f"{path} is a Sentinel-1 {kind} product. Give the GRD product of the same scene.")
