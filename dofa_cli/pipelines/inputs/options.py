"""How each input of a place is read: what the user asks for, as far as it suits the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rasterio.crs import CRS

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.inputs.named import HOW, Input
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.header import Header


def check_options(inputs: Sequence[Input], options: SceneOptions) -> None:
    """Refuse options that belong to one sensor, where each input has its own: :class:`OptionError` names them."""
    told = {
        "--sensor": options.sensor,
        "--wavelengths": options.wavelengths,
        "--scale": options.scale,
        "--offset": options.offset,
    }
    if given := [name for name, value in told.items() if value is not None]:
        raise OptionError(
            f"{', '.join(given)} would hold for all inputs, whose sensors differ. Leave it out: each input is {HOW}."
        )
    for option, text in (("--bands", options.bands), ("--product", options.product)):
        _by_input(inputs, option, text)


def _by_input(inputs: Sequence[Input], option: str, text: str | None) -> dict[str, str]:
    """Read what is said of some inputs, by sensor or by input: ``sentinel2=l1c-0400;sentinel1=sigma0-db``."""
    found = {}
    known = list(dict.fromkeys(name for one in inputs for name in (one.sensor, str(one.key))))
    for part in text.split(";") if text else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in known:
            raise OptionError(
                f"{option} '{part}' does not say of which input it is. Write {option} '{known[0]}=…', and several with "
                f"; between them. The inputs are {', '.join(str(one.key) for one in inputs)}."
            )
        found[name] = value
    return found


def options_of(inputs: Sequence[Input], options: SceneOptions, crs: CRS | None) -> dict[Input, SceneOptions]:
    """Return the options for each input: its sensor, clouds masked where its product tells them, warped if need be.

    Where no product tells clouds, they stay asked for, so that the first input is refused as a single scene is.
    """
    bands, products = (
        _by_input(inputs, option, text) for option, text in (("--bands", options.bands), ("--product", options.product))
    )
    own = {}
    for one in inputs:
        said = [told.get(str(one.key), told.get(one.sensor)) for told in (bands, products)]
        own[one] = replace(with_warp(one, options, crs), sensor=one.sensor, bands=said[0], product=said[1])
    if not options.masks.clouds:
        return own
    telling = {one for one in inputs if any(_tells_clouds(header) for header in _headers(one))}
    if not telling:
        return own
    dilate = options.masks.dilate if options.masks.file else 0
    clear = replace(options.masks, clouds=False, snow=False, keep_cirrus=False, dilate=dilate)
    return {one: found if one in telling else replace(found, masks=clear) for one, found in own.items()}


def with_warp(one: Input, options: SceneOptions, crs: CRS | None) -> SceneOptions:
    """Return the options for an input: files without an affine grid are warped to ``crs`` without being asked to."""
    if options.warp or crs is None:
        return options
    affine = all(header.is_affine for header in _headers(one))
    return options if affine else replace(options, warp=crs.to_wkt())


def _headers(one: Input) -> list[Header]:
    return [header for path in one.paths for header in headers_at(path)]


def _tells_clouds(header: Header) -> bool:
    return header.delivery is not None and header.delivery.quality is not None
