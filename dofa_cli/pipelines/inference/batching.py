"""Batches of one shape, halved where the device runs out of memory, so that a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dofa_cli.errors import OutOfMemory

HALVED = "the device had too little memory for the batch: smaller ones were run, which agree to 1e-5."
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "alloc_failed", "out of memory")
"""What PyTorch's plain RuntimeErrors say where a processor's or a library's memory ran out."""
Attempt = Callable[[range, int], Tensor]
"""Runs windows ``range`` of a list as one batch of a size, and returns the results of these windows."""


@dataclass
class Batcher:
    """Runs lists of windows in batches of ``size``; ``size`` is halved for good when memory does not suffice.

    Results at another batch's shape agree to 1e-5. ``say`` hears of it once for each halving.
    """

    size: int
    device: torch.device
    say: Callable[[str], object] = lambda _: None
    asked: int = field(init=False)

    def __post_init__(self) -> None:
        """Keep the size that was asked for."""
        self.asked = self.size

    @property
    def was_halved(self) -> bool:
        """Whether the device had too little memory for the size asked for."""
        return self.size < self.asked

    def run(self, count: int, attempt: Attempt) -> Tensor:
        """Return the results of ``count`` windows (count, …).

        Raises :class:`OutOfMemory` where memory does not suffice for one window.
        """
        results: list[Tensor] = []
        first = 0
        while first < count:
            some = range(first, min(first + self.size, count))
            found = self._tried(some, attempt)
            if found is None:
                self._halve()
                continue
            results.append(found)
            first = some.stop
        return results[0] if len(results) == 1 else torch.cat(results)

    def _tried(self, some: range, attempt: Attempt) -> Tensor | None:
        """Return a batch's results, ``None`` where memory ran out; the error is gone then, with what it held."""
        try:
            return attempt(some, self.size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _halve(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.size == 1:
            raise OutOfMemory(
                f"{self.device} has too little memory for a single window. Give a smaller --window, or --device cpu."
            )
        self.size = (self.size + 1) // 2
        self.say(
            f"{self.device} has too little memory for the batch; going on with {self.size} windows a forward. "
            f"--batch-size {self.size} starts with that."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device's or the machine's memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


@contextmanager
def tile_memory(device: torch.device) -> Iterator[None]:
    """Turn memory that runs out over a tile's pixels or results, which no smaller batch helps, into an error of ours.

    Raises :class:`OutOfMemory`.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{device} or the machine has too little memory for a tile. Give a smaller --shard or --memory-limit."
        ) from None
