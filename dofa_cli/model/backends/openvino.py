"""OpenVINO: the quickest bfloat16 and 8-bit products of x86 processors, in an optional package."""

from __future__ import annotations

import hashlib
import io
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends.backend import BackendName, Keep
from dofa_cli.model.backends.openvino_graph import Graph
from dofa_cli.model.backends.ranges import Ranges, balanced
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import FoldedDofa, FoldedEmbed

SHAPES = 2
"""Shapes of batches that are held ready, the longest unused dropped."""
SHOWN = 200
"""Characters of OpenVINO's complaint that a user is shown."""
MISSING = "OpenVINO is not installed. Run `pip install 'dofa[openvino]'`, or use --backend torch."
_REPORTER = "openvino_telemetry"
_importing = Lock()


def has_openvino() -> bool:
    """Whether the package is installed; nothing is imported."""
    return find_spec("openvino") is not None


@cache
def openvino_core() -> tuple[Any, Any]:
    """Return the package and its one core; raises :class:`DeviceError` where it is not installed."""
    if not has_openvino():
        raise DeviceError(MISSING)
    with _importing, _unreported():
        openvino = import_module("openvino")
    return openvino, openvino.Core()


@contextmanager
def _unreported() -> Iterator[None]:
    """Hide the package by which OpenVINO tells its makers that it is used, from its import on."""
    before = sys.modules.get(_REPORTER)
    sys.modules[_REPORTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_REPORTER]
        else:
            sys.modules[_REPORTER] = before


class OpenVinoBackend:
    """A network compiled by OpenVINO for each shape of batch that comes.

    ``folded`` is a plain float32 network. With ``ranges`` its linear layers multiply 8-bit numbers; that takes long
    enough to compile that the result is kept by ``keep``, under a name that begins with ``key``.
    """

    name = BackendName.OPENVINO

    def __init__(
        self, folded: FoldedDofa, precision: Precision, *, key: str, keep: Keep, ranges: Ranges | None = None
    ) -> None:
        self.openvino, self.core = openvino_core()
        self.folded, self.precision, self.ranges = folded, precision, ranges
        self.key, self.keep = key, keep
        self.lock = Lock()
        self.ready: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def patches(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to un-normed patch tokens (N, L, D) in float32."""
        with self.lock:
            request = self._request(tuple(pixels.shape))
            found = request.infer([pixels.contiguous().numpy()], share_inputs=True, share_outputs=True)[0]
            return torch.from_numpy(found).clone()

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self.ready:
            kept = self.ranges is not None
            self.ready[shape] = (self._kept(shape) if kept else self._compiled(shape)).create_infer_request()
        self.ready.move_to_end(shape)
        while len(self.ready) > SHAPES:
            self.ready.popitem(last=False)
        return self.ready[shape]

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        model, steps = self.folded.model, {}
        if self.ranges is not None:
            made = balanced(model, self.ranges)
            model, steps = made.model, made.steps
        embed = self.folded.embed
        assert isinstance(embed, FoldedEmbed), "plain networks have it"
        n, bands, height, width = shape
        graph = Graph(self.openvino.opset13, model, embed, (n, bands, height, width), steps)
        pixels, tokens = graph.nodes()
        whole = self.openvino.Model([self.openvino.opset13.result(tokens)], [pixels], "dofa")
        try:
            return self.core.compile_model(whole, "CPU", self._settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:SHOWN]
            raise DeviceError(f"OpenVINO could not compile the network ({reason}). Use --backend torch.") from None

    def _kept(self, shape: tuple[int, ...]) -> Any:
        """Return what was compiled before, or compile it; a kept file that is damaged is not used."""
        what = f"{self.key}{shape}{self._settings}{self.openvino.get_version()}{processor(self.core)}"
        name = f"{hashlib.sha256(what.encode()).hexdigest()}.blob"
        made = []

        def compile_to(path: Path) -> None:
            made.append(self._compiled(shape))
            path.write_bytes(made[0].export_model().getvalue())

        path = self.keep(name, compile_to)
        if made:
            return made[0]
        try:
            return self.core.import_model(io.BytesIO(path.read_bytes()), "CPU", self._settings)
        except (RuntimeError, OSError):
            return self._compiled(shape)

    @property
    def _settings(self) -> dict[str, Any]:
        exact = self.precision is Precision.FLOAT32
        return {
            "INFERENCE_PRECISION_HINT": "f32" if exact or not has_bfloat16() else "bf16",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # several processes would be bound to the same cores
        }


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; where it does not, OpenVINO stays with float32."""
    return "BF16" in openvino_core()[1].get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def processor(core: Any) -> str:
    """Return the processor's name, with what it can do."""
    return f"{core.get_property('CPU', 'FULL_DEVICE_NAME')}{core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')}"
