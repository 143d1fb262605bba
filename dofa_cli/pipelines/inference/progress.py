"""A progress bar on stderr in windows and km², with the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix} [{elapsed}<{remaining}]"


@contextmanager
def window_progress(
    total: int, area_km2: float | None, *, shown: bool, verb: str = "embed", unit: str = "windows"
) -> Iterator[Callable[[int], None]]:
    """Give a function to call with the number of windows, or of another ``unit``, finished."""
    with tqdm(total=total, desc=verb, unit=unit, bar_format=BAR, disable=not shown, file=sys.stderr) as bar:

        def advance(windows: int) -> None:
            bar.update(windows)
            if area_km2 is not None and shown:
                bar.set_postfix_str(f"{area_km2 * bar.n / total:,.1f}/{area_km2:,.1f} km²", refresh=False)

        yield advance
