"""``dofa bench``: what this machine, a network on it and a whole scene reach, and what bounds the scene."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import rasterio
import torch

from dofa_cli.errors import OptionError
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision, choose_device, choose_precision
from dofa_cli.pipelines.inference.encoder import about_default, open_weights
from dofa_cli.pipelines.inference.kept import networks_kept
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.run import Level, ModelOptions, Request, Run, settle
from dofa_cli.pipelines.measuring.copying import COPIED_BYTES, CopyRate, copy_rates
from dofa_cli.pipelines.measuring.decoding import SIDE, DecodeRate, codec_rates, file_rates
from dofa_cli.pipelines.measuring.flops import forward_products
from dofa_cli.pipelines.measuring.machine import Machine, cores, others_measured, this_machine
from dofa_cli.pipelines.measuring.made_scene import Codec, Wish, made_scene, wished
from dofa_cli.pipelines.measuring.network import NetworkRates, network_rates, weights_at
from dofa_cli.pipelines.measuring.products import PeakRate, peak_rate, precisions_of, squares
from dofa_cli.pipelines.measuring.verdict import Verdict, verdict
from dofa_cli.pipelines.measuring.whole_scene import SceneRates, middle, scene_rates
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output, explained, working_file

NO_CARD = "No graphics card is here; its rows are left out."
MOST_BY_OTHERS = 0.1
"""Share of the machine's processors that other programs may take without a word."""
Choice = TypeVar("Choice", bound=StrEnum)
Say = Callable[[str], object]


@dataclass(frozen=True)
class Effort:
    """How much is measured: seconds a rate, windows, bytes copied, sides of what is decoded and of ``squares``."""

    seconds: float
    windows: int
    copied: int
    side: int
    squares: tuple[int, ...]


FULL = Effort(seconds=0.5, windows=200, copied=COPIED_BYTES, side=SIDE, squares=(1024, 2048))
QUICK = Effort(seconds=0.05, windows=32, copied=COPIED_BYTES, side=SIDE // 4, squares=(1024,))


@dataclass(frozen=True)
class BenchReport:
    """Everything that was measured: the machine, its rates, a network's, a whole scene's, and what bounds it."""

    machine: Machine
    products: list[PeakRate]
    copies: list[CopyRate]
    decoding: list[DecodeRate]
    network: NetworkRates
    scene: SceneRates
    verdict: Verdict
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return to_json(asdict(self))


def bench(
    scene: str | Path | Sequence[str | Path] | None = None,
    *,
    weights: str | None = None,
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    device: str = "auto",
    precision: Precision | str = Precision.AUTO,
    backend: BackendName | str = BackendName.AUTO,
    batch_size: int | None = None,
    windows: int | None = None,
    compress: Codec | str = Codec.DEFLATE,
    quick: bool = False,
    report: str | Path | None = None,
    overwrite: bool = False,
    say: Say = lambda _: None,
) -> BenchReport:
    """Measure this machine; options are those of ``dofa bench``.

    Without a ``scene`` one of about ``windows`` windows is made, of a ``sensor``'s bands, of ``wavelengths`` in µm, or
    of so many ``bands``, and stored as ``compress`` says. Of a given one ``windows`` in its middle are measured, 0
    means all. ``weights`` may be ``random:SIZE`` (see :data:`~.measuring.network.SIZES`). ``report`` is a file for what
    :meth:`BenchReport.to_json` gives. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    named = [] if scene is None else [scene] if isinstance(scene, str | Path) else scene
    paths = tuple(str(path) for path in named)
    effort = QUICK if quick else FULL
    effort = effort if windows is None else replace(effort, windows=windows)
    options, codec = SceneOptions(sensor, wavelengths, bands), _one_of(Codec, "--compress", compress)
    wish = None if paths else wished(sensor, wavelengths, bands, effort.windows, codec)
    exact = choose_precision(_one_of(Precision, "--precision", precision), choose_device(device))
    means = _one_of(BackendName, "--backend", backend)
    how = ModelOptions(None, True, device=device, precision=exact, batch_size=batch_size, backend=means)
    target = None if report is None else Path(report)
    if target is not None:
        check_output(target, overwrite=overwrite, inputs=paths)
    with _workplace(paths) as folder:
        model = replace(how, weights=weights_at(weights, folder))
        if wish is None:
            request, run = _given(_request(paths, options, model, folder), effort, say)
            what = paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
            done = _measured(what, run, request, effort, say)
        else:
            request, run = _made(wish, model, folder, say)
            done = _measured(f"made here, {codec}", run, request, effort, say)
    if target is not None:
        with working_file(target) as working, explained(target):
            working.write_text(done.to_json() + "\n", encoding="utf-8")
    return done


@contextmanager
def _workplace(paths: Sequence[str]) -> Iterator[Path]:
    """Give a folder for the body's time; networks are opened once meanwhile."""
    with (
        tempfile.TemporaryDirectory(prefix="dofa-bench-") as name,
        networks_kept(),
        rasterio.Env(**gdal_options(paths)),
    ):
        yield Path(name)


def _measured(what: str, run: Run, request: Request, effort: Effort, say: Say) -> BenchReport:
    """Measure the scene first, while nothing else stands in memory."""
    folder, device = request.output.parent, run.encoder.device
    say(f"Running {run.plan.window_count:,} windows from file to file.")
    with others_measured() as others:
        scene = scene_rates(what, run, request)
    say("Measuring the network and its matrix products.")
    network = network_rates(run, effort.seconds)
    own = forward_products(run.weights.config, network.bands, network.window_px, network.batch)
    products = (*squares(device, effort.squares), *own)
    say("Measuring the machine.")
    peaks = [peak_rate(device, precision, products, effort.seconds / 2) for precision in precisions_of(device)]
    threads = sorted({1, cores()})
    decoding = codec_rates(folder, threads, effort.seconds, effort.side)
    if folder not in Path(request.paths[0]).parents:
        decoding += file_rates(run.prepared.scene.bands, threads, effort.seconds)
    return BenchReport(
        machine=this_machine(device),
        products=peaks,
        copies=copy_rates(device, effort.seconds, effort.copied),
        decoding=decoding,
        network=network,
        scene=scene,
        verdict=verdict(scene, network, peaks, decoding),
        notes=_notes(others.share),
    )


def _notes(others: float) -> tuple[str, ...]:
    busy = f"Other programs took {others:.0%} of the processor meanwhile: measure again when it is quiet."
    notes = (None if torch.cuda.is_available() else NO_CARD, busy if others > MOST_BY_OTHERS else None)
    return tuple(note for note in notes if note is not None)


def _made(wish: Wish, model: ModelOptions, folder: Path, say: Say) -> tuple[Request, Run]:
    """Make a scene and ask for it, standardised by itself: speed does not depend on whose statistics are used."""
    if model.weights is None:
        say(about_default())
    say(f"Making a scene of about {wish.windows} windows.")
    config = open_weights(model.weights, trusted=True).config
    path = made_scene(folder / "scene.tif", wish, config)
    options = SceneOptions(wish.sensor, wish.wavelengths, normalize=Normalize.SCENE)
    request = _request((str(path),), options, model, folder)
    return request, settle(request, lambda _: None)


def _given(request: Request, effort: Effort, say: Say) -> tuple[Request, Run]:
    """Settle a user's scene, or the middle of it."""
    run = settle(request, say)
    area = middle(run.prepared.scene, run.plan, effort.windows, request.output.with_name("middle.gpkg"))
    if area is None:
        return request, run
    most = f"{effort.windows:,} of {run.plan.window_count:,}"
    say(f"About {most} windows are measured, in the middle; --windows 0 for all.")
    request = replace(request, aoi=area)
    return request, settle(request, lambda _: None)


def _request(paths: tuple[str, ...], scene: SceneOptions, model: ModelOptions, folder: Path) -> Request:
    return Request(
        paths=paths,
        output=folder / "tokens.tif",
        level=Level.PATCH,
        dtype=OutputDtype.FLOAT32,
        aoi=None,
        scene=scene,
        model=model,
        grid=GridOptions(),
    )


def _one_of(kind: type[Choice], option: str, value: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(one.value for one in kind)
        raise OptionError(f"{option} '{value}' is not one of {known}.") from None
