"""Which pixels of a scene are left out because of clouds or a mask of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dask.array as da

from dofa_cli.errors import OptionError
from dofa_cli.raster.clouds import CloudOptions, cloud_mask, describe_screen, share_of
from dofa_cli.raster.deliveries.delivery import QualityLayer, Screen
from dofa_cli.raster.header import Header
from dofa_cli.raster.source import Grid


@dataclass(frozen=True)
class MaskOptions:
    """What to leave out; fields are the command line's options of the same names, ``dilate`` in scene pixels."""

    clouds: bool = False
    snow: bool = False
    keep_cirrus: bool = False
    dilate: int = 0
    file: str | None = None
    values: str | None = None


@dataclass(frozen=True)
class Screened:
    """Pixels (height, width) to leave out, their share of the scene, and what they are."""

    mask: da.Array
    share: float
    what: str

    @property
    def note(self) -> str:
        """One line for the user."""
        return f"{self.share:.1%} of the scene is masked: {self.what}."


def screened(headers: Sequence[Header], grid: Grid, options: MaskOptions) -> tuple[Screened, ...]:
    """Return the masks that ``options`` ask for, on ``grid``.

    Raises :class:`OptionError` where clouds are to be masked and the scene has no quality layer.
    """
    clouds = CloudOptions(not options.keep_cirrus, options.snow, options.dilate, _values(options.values))
    found = []
    for layer in _layers(headers, options):
        mask = cloud_mask(layer, grid, clouds)
        found.append(Screened(mask, share_of(mask), describe_screen(layer.screen, clouds)))
    return tuple(found)


def masked_share(found: Sequence[Screened]) -> float | None:
    """Return the share of the scene that any of the masks leaves out; ``None`` without masks."""
    if not found:
        return None
    return found[0].share if len(found) == 1 else share_of(da.any(da.stack([one.mask for one in found]), axis=0))


def _layers(headers: Sequence[Header], options: MaskOptions) -> list[QualityLayer]:
    shipped = {layer for header in headers if header.delivery and (layer := header.delivery.quality)}
    if options.clouds and not shipped:
        raise OptionError(
            "--mask-clouds needs a product with a quality layer (Sentinel-2 L2A, Landsat Collection 2, HLS). "
            "Give a mask of your own with --mask FILE: pixels other than 0 are left out."
        )
    if options.values and not options.file:
        raise OptionError("--mask-values says which values of --mask FILE are left out; there is no --mask.")
    idle = [name for name, on in (("--mask-snow", options.snow), ("--keep-cirrus", options.keep_cirrus)) if on]
    if idle and not options.clouds:
        raise OptionError(f"{' and '.join(idle)} change what --mask-clouds leaves out; it is not given.")
    if options.dilate and not (options.clouds or options.file):
        raise OptionError("--cloud-dilate widens what --mask-clouds or --mask leaves out; neither is given.")
    own = [QualityLayer(options.file, Screen.NONZERO)] if options.file else []
    return [*(sorted(shipped, key=lambda layer: layer.path) if options.clouds else []), *own]


def _values(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise OptionError(f"--mask-values '{text}' is not a list of whole numbers such as 0,3,8.") from None
