"""Principal components of many-band pixels, from running moments: memory depends on the bands, not on the pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """``axes`` (components, bands) of unit length, ``mean`` (bands,), and the share of the variance each explains.

    Each axis points to where its largest loading is positive, so that colours do not flip between runs.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: tuple[float, ...]

    def project(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores (components, …) of ``values`` (bands, …)."""
        axes = self.axes.astype(np.float32)
        flat = values.reshape(len(values), -1).astype(np.float32) - self.mean.astype(np.float32)[:, None]
        return (axes @ flat).reshape(len(axes), *values.shape[1:])


def fit_components(blocks: Iterable[NDArray[Any]], count: int) -> Components | None:
    """Fit the first ``count`` components to blocks of pixels, each (bands, pixels); ``None`` without any pixel.

    Moments are taken about the first block's mean, which keeps double precision where bands lie far from 0.
    """
    pixels = 0
    shift = total = outer = np.zeros(0)
    for block in blocks:
        if not block.shape[1]:
            continue
        values = block.astype(np.float64)
        if not pixels:
            shift = values.mean(axis=1)
            total, outer = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
        values -= shift[:, None]
        pixels += values.shape[1]
        total += values.sum(axis=1)
        outer += values @ values.T
    if not pixels:
        return None
    mean = total / pixels
    return _decompose(shift + mean, outer / pixels - np.outer(mean, mean), count)


def _decompose(mean: NDArray[np.float64], covariance: NDArray[np.float64], count: int) -> Components:
    variances, vectors = np.linalg.eigh(covariance)
    variances, axes = variances[::-1].clip(0)[:count], vectors.T[::-1][:count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    total = float(np.trace(covariance))
    explained = variances / total if total > 0 else np.zeros(len(variances))
    return Components(mean, axes * np.where(largest < 0, -1, 1), tuple(float(share) for share in explained))
