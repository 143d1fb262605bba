"""Recognise an agency's product and list its bands."""

from __future__ import annotations

from collections.abc import Callable

from dofa_cli.raster.deliveries import emit, enmap, hls, landsat, prisma, sentinel1, sentinel2, stac
from dofa_cli.raster.deliveries.delivery import Delivery

Reader = Callable[[str], Delivery | None]
"""Returns the product at a path, or ``None`` where it is not one of its kind."""

READERS: tuple[Reader, ...] = (
    sentinel2.read,
    sentinel1.read,
    landsat.read,
    hls.read,
    stac.read,
    enmap.read,
    prisma.read,
    emit.read,
)


def unpack(path: str) -> Delivery | None:
    """Return the product at ``path``, or ``None`` where it is a plain raster.

    Raises :class:`~dofa_cli.errors.SceneError` for a product whose metadata are damaged.
    """
    return next((found for reader in READERS if (found := reader(path))), None)
