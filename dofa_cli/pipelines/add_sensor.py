"""``dofa sensors add``: a sensor file from wavelengths, a file that states them, a known sensor, or a frequency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

from dofa_cli.errors import OptionError
from dofa_cli.sensors import registry
from dofa_cli.sensors.custom import parse_wavelengths
from dofa_cli.sensors.files import Content
from dofa_cli.sensors.making.alike import content_like
from dofa_cli.sensors.making.draft import BandWishes, Identity, ProductWish, content_of, good_bands, radar, with_wishes
from dofa_cli.sensors.making.found import Found, FoundBand, clean, shown, spectrum
from dofa_cli.sensors.making.importers import is_text, read_responses, read_source
from dofa_cli.sensors.making.naming import check_id
from dofa_cli.sensors.making.write import layer_of, put, read_back, refuse_existing, to_toml
from dofa_cli.sensors.schema import Kind, Sensor
from dofa_cli.sensors.showing.checks import doubts


@dataclass(frozen=True)
class Source:
    """Where the bands come from: one of these, but that ``wavelengths`` may change a sensor ``like`` another."""

    wavelengths: str | None = None
    file: str | None = None
    responses: str | None = None
    like: str | None = None
    frequency: float | None = None
    polarisations: str | None = None

    def check(self) -> None:
        """Raise :class:`OptionError` unless exactly one source is given."""
        given = {
            "--wavelengths": self.wavelengths if self.like is None else None,
            "--from": self.file,
            "--from-srf": self.responses,
            "--like": self.like,
            "--frequency": self.frequency,
        }
        names = [option for option, value in given.items() if value is not None]
        if len(names) != 1:
            told = f"{' and '.join(names)} were given" if names else "none was given"
            raise OptionError(f"Say where the bands come from with one of {', '.join(given)}; {told}.")
        if (self.frequency is None) != (self.polarisations is None):
            raise OptionError("A radar needs both --frequency GHZ and --polarisations VV,VH.")


@dataclass(frozen=True)
class Place:
    """Where the file goes: a folder, the project's, or by default the user's."""

    into: Path | None = None
    project: bool = False
    force: bool = False

    @property
    def folder(self) -> Path:
        """The folder; :class:`OptionError` where two are given."""
        if self.into is not None and self.project:
            raise OptionError("--into and --project both say where the file goes. Give one.")
        if self.into is not None:
            return self.into
        return registry.PROJECT_FOLDER if self.project else registry.user_folder()


@dataclass(frozen=True)
class Added:
    """A sensor, its file's text and place, whether it was written, and what the user should know."""

    sensor: Sensor
    text: str
    path: Path
    is_written: bool
    notices: tuple[str, ...] = field(default=())


def add_sensor(
    sensor_id: str,
    *,
    wavelengths: str | None = None,
    source: str | Path | None = None,
    from_srf: str | Path | None = None,
    like: str | None = None,
    frequency: float | None = None,
    polarisations: str | None = None,
    names: str | None = None,
    fwhm: str | None = None,
    gsd: str | None = None,
    name: str | None = None,
    aliases: Sequence[str] = (),
    kind: str | None = None,
    product_scale: float | None = None,
    product_offset: float | None = None,
    nodata: float | None = None,
    stats_from: Sequence[str | Path] = (),
    into: str | Path | None = None,
    project: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> Added:
    """Write a sensor file ``sensor_id.toml``; arguments are the command's options (``source`` is ``--from``).

    Raises :class:`OptionError` for options that do not go together, ``BadWavelengths`` and ``BadSensorFile`` for what
    cannot be understood, the errors of :mod:`dofa_cli.raster.header` for rasters, and ``OutputExists``,
    ``OutputUnwritable`` or ``NoSpace``.
    """
    bands = Source(wavelengths, _text(source), _text(from_srf), like, frequency, polarisations)
    product = _product(product_scale, product_offset, nodata, is_radar=frequency is not None)
    identity = Identity(check_id(sensor_id), name, tuple(aliases), _kind(kind), product)
    wishes = BandWishes(_names(names), _numbers("--fwhm", fwhm), _numbers("--gsd", gsd))
    place = Place(Path(into) if into is not None else None, project, force)
    path = place.folder / f"{identity.id}.toml"
    if not dry_run:
        refuse_existing(path, force=force)
    content, notices = _content(bands, identity, wishes, path)
    made = _with_statistics(content, identity.id, [str(path) for path in stats_from])
    if not dry_run:
        put(made.text, path, force=force)
    told = (*notices, *made.notices, *_about_place(made.sensor, path, is_written=not dry_run))
    return replace(made, path=path, is_written=not dry_run, notices=told)


def _content(source: Source, identity: Identity, wishes: BandWishes, path: Path) -> tuple[Content, tuple[str, ...]]:
    source.check()
    if source.like is not None:
        parent = registry.entry(source.like)
        given = None if source.wavelengths is None else parse_wavelengths(source.wavelengths)
        return content_like(parent, identity, given, wishes, may_extend=_may_extend(parent, path))
    if source.frequency is not None:
        if wishes.names or wishes.fwhm:
            raise OptionError("Bands of a radar are named by --polarisations and have no --fwhm.")
        found = radar(source.frequency, _polarisations(source.polarisations or ""))
    elif source.wavelengths is not None:
        found, wishes = _by_hand(source.wavelengths, wishes)
    elif source.responses is not None:
        found = read_responses(Path(source.responses))
    else:
        found = _of_file(source.file or "")
    return content_of(with_wishes(found, wishes), identity)


def _by_hand(text: str, wishes: BandWishes) -> tuple[Found, BandWishes]:
    """Read wavelengths, with widths in their unit."""
    centers = parse_wavelengths(text)
    wishes.check(len(centers))
    labels = [f"--wavelengths value {place}" for place in range(1, len(centers) + 1)]
    found = spectrum(labels, centers, wishes.fwhm or [None] * len(centers))
    pairs = zip(found.centers_um, found.fwhm_um, strict=True)
    bands = tuple(FoundBand(center_um=center, fwhm_um=width) for center, width in pairs)
    return Found(bands, "wavelengths given by hand", notices=found.notices), replace(wishes, fwhm=None)


def _of_file(path: str) -> Found:
    if is_text(Path(path)):
        return read_source(Path(path))
    from dofa_cli.pipelines.scenes.stated_bands import bands_of_raster

    return bands_of_raster(path)


def _with_statistics(content: Content, sensor_id: str, scenes: Sequence[str]) -> Added:
    """Return the sensor as its file will be read, with statistics of ``scenes`` where there are any."""
    text = to_toml(content)
    plain = Added(read_back(sensor_id, text), text, Path(), is_written=False)
    if not scenes:
        return plain
    from dofa_cli.pipelines.scenes.own_statistics import measure

    measured = measure(plain.sensor, scenes)
    known = plain.sensor
    if not known.default and len(measured.bands) < len(known.bands):  # or no pixel would be valid in all bands
        content = {**content, **good_bands(measured.bands, known.presets)}
    text = to_toml({**content, "statistics": list(measured.tables)})
    return Added(read_back(sensor_id, text), text, Path(), is_written=False, notices=measured.notices)


def _may_extend(parent: registry.Entry, path: Path) -> bool:
    """Whether a file at ``path`` finds the parent: one of its own layer or a lower one, which it does not replace."""
    layer, own = layer_of(parent.file.path), layer_of(path)
    is_itself = parent.file.path.absolute() == path.absolute()
    return layer is not None and not is_itself and layer >= (own or 0)


def _about_place(sensor: Sensor, path: Path, *, is_written: bool) -> Iterator[str]:
    """Yield what is suspicious about the sensor, and what answers to its id instead."""
    if not is_written:
        yield f"nothing was written; it would be {path}" + (" (which exists already)." if path.exists() else ".")
        return
    known = registry.entry(str(path))
    yield from (doubt if doubt.endswith("?") else f"{doubt}." for doubt in doubts(known, registry.entries()))
    if layer_of(path) is None:
        yield f"sensors are not looked for in {path.parent}: give --sensor {path}, or set ${registry.SEARCH_PATH}."
    elif (first := registry.entry(sensor.id).file.path).absolute() != path.absolute():
        yield f"{first} has the same id and comes first."


def _product(scale: float | None, offset: float | None, nodata: float | None, *, is_radar: bool) -> ProductWish:
    for option, value in (("--product-scale", scale), ("--product-offset", offset), ("--nodata", nodata)):
        if value is not None and not isfinite(value):
            raise OptionError(f"{option} {value} is not a finite number. (NaN pixels are always left out.)")
    if scale is not None and scale <= 0:
        raise OptionError(f"--product-scale {scale:g} is not above 0.")
    if is_radar and (scale is not None or offset is not None):
        raise OptionError("--product-scale and --product-offset are for reflectance, which a radar does not measure.")
    return ProductWish(scale, offset, nodata)


def _kind(text: str | None) -> Kind | None:
    if text is not None and text not in list(Kind):
        raise OptionError(f"--kind {shown(text)} is not one of {', '.join(Kind)}.")
    return None if text is None else Kind(text)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{option} {shown(text)} is not a list of numbers such as 0.02,0.03.") from None
    if wrong := [value for value in values if not 0 < value < float("inf")]:
        raise OptionError(f"{option} {wrong[0]:g} is not a finite number above 0.")
    return values


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(clean(part) for part in text.split(","))
    if not all(names):
        raise OptionError(f"--names {shown(text)} has an empty name.")
    return names


def _polarisations(text: str) -> tuple[str, ...]:
    found = tuple(part.strip().upper() for part in text.split(","))
    if wrong := [part for part in found if part not in ("VV", "VH", "HV", "HH")]:
        raise OptionError(f"--polarisations {shown(wrong[0])} is not one of VV, VH, HV, HH.")
    return found


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
