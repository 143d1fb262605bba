"""``dofa bench``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import say, size, table

if TYPE_CHECKING:
    from dofa_cli.pipelines.bench import BenchReport

Scene = Annotated[
    list[str] | None,
    typer.Argument(help="A raster, or the band files of one scene. Default: one is made.", show_default=False),
]


def bench(
    scene: Scene = None,
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of SCENE, as for embed; without one, how many to make.", rich_help_panel="The scene"),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            min=0, help="Windows of the scene, 0 for all of SCENE. Default: 200, with --quick 32.", show_default=False
        ),
    ] = None,
    compress: Annotated[
        str,
        typer.Option(help="How a scene that is made is stored: none, deflate or zstd.", rich_help_panel="The scene"),
    ] = "deflate",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights by name or path, or random:SIZE (tiny, small, base, large, huge, v2-base, v2-large).",
            envvar="DOFA_DEFAULT_WEIGHTS",
            rich_help_panel="The network",
        ),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    backend: options.Backend = "auto",
    batch_size: options.BatchSize = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Seconds rather than a minute; rough.")] = False,
    overwrite: options.Overwrite = False,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Write one JSON object, - for stdout instead of the table.",
            rich_help_panel="The run",
        ),
    ] = None,
) -> None:
    """Measure this machine, a network on it and a whole scene, and say what bounds them.

    dofa bench --weights random:base --precision bfloat16

    dofa bench scene.tif --sensor sentinel2 --json bench.json
    """
    from dofa_cli.pipelines.bench import bench as run

    report = run(
        scene or None,
        weights=weights,
        sensor=sensor,
        wavelengths=wavelengths,
        bands=bands,
        device=device,
        precision=precision,
        backend=backend,
        batch_size=options.batch(batch_size),
        windows=windows,
        compress=compress,
        quick=quick,
        report=None if json == "-" else json,
        overwrite=overwrite,
        say=say,
    )
    if json == "-":
        typer.echo(report.to_json())
        return
    for line in _lines(report):
        typer.echo(line)


def _lines(report: BenchReport) -> Iterator[str]:
    yield from _machine(report)
    yield ""
    yield from _network(report)
    yield ""
    yield from _scene(report)
    yield ""
    yield f"{report.verdict.sentence} {report.verdict.would_help}".strip()
    yield from report.notes


def _machine(report: BenchReport) -> Iterator[str]:
    machine = report.machine
    yield f"{machine.processor}, {machine.cores} cores, {size(machine.memory)}; {_versions(machine.versions)}"
    if machine.device_memory is not None:
        yield f"{machine.device}, {size(machine.device_memory)}, driver {machine.driver or 'unknown'}"
    rows = [(f"products, {one.precision}", f"{one.tflops:.3g} TFLOP/s", one.shape) for one in report.products]
    rows += [(f"copying, {one.what}", f"{one.gb_s:.3g} GB/s", "") for one in report.copies]
    rows += [
        (f"decoding, {one.what}", f"{one.mb_s:,.0f} MB/s", "1 thread" if one.threads == 1 else f"{one.threads} threads")
        for one in report.decoding
    ]
    yield table(("machine", "rate", "of"), rows)


def _network(report: BenchReport) -> Iterator[str]:
    one = report.network
    yield f"{one.weights}: {one.depth} blocks of {one.dimensions}, {one.bands} bands, {one.window_px} px"
    yield f"batch {one.batch}, {one.precision} on {one.device} ({one.backend}); {one.gflop:.3g} GFLOP a window"
    rows = [("alone", f"{one.windows_s:,.1f}", f"{one.tflops:.3g}", "")]
    if one.chain_windows_s is not None and one.chain_tflops is not None and one.share_of_chain is not None:
        rows[0] = (*rows[0][:3], f"{one.share_of_chain:.0%}")
        rows.append(("its bare products", f"{one.chain_windows_s:,.1f}", f"{one.chain_tflops:.3g}", "100%"))
    yield table(("network", "windows/s", "TFLOP/s", "of its products"), rows)


def _scene(report: BenchReport) -> Iterator[str]:
    one = report.scene
    yield f"scene {one.what}: {one.bands} bands, {one.height} × {one.width} px"
    yield f"{one.windows:,} windows in {one.seconds:.1f} s after {one.ready_seconds:.1f} s to get the network ready"
    km2 = "" if one.km2_s is None else f"{one.km2_s:.3g} km²/s, "
    yield f"{one.windows_s:,.1f} windows/s, {km2}{one.mpixel_s:.3g} Mpixel/s"
    yield f"{one.mb_s_in:,.1f} MB/s of pixels in, {one.mb_s_out:,.1f} MB/s of values out"
    peaks = ((one.peak_memory_bytes, "memory"), (one.device_peak_bytes, "device memory"))
    yield f"{one.cores_busy:.1f} cores busy on average"
    if told := [f"{size(peak)} of {what} at most" for peak, what in peaks if peak is not None]:
        yield ", ".join(told)
    rows = [(name, f"{one.seconds * share:.2f}", f"{share:.1%}") for name, share in one.shares.items()]
    beside = [(f"{name} (beside)", f"{one.stages[name]:.2f}", "") for name in one.stages if name not in one.shares]
    yield table(("stage", "seconds", "share"), [*rows, *beside])


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
