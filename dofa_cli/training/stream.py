"""The stream of batches: a function of seed and step, computed ahead in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from threading import Barrier

import numpy as np
import torch

from dofa_cli.training.data import Batch, CropRules, Source, batch_size, draw_batch, random_numbers
from dofa_cli.training.schedule import Schedule

AHEAD = 3
"""Batches computed before they are asked for."""
MEASURING = 2**31
"""Stands where a step stands in the keys of batches that only measure the loss."""
MEASURED_CROPS = 64
MEASURED_VALUES = 2**23
"""Most crops and pixel values of a batch that only measures the loss."""


@dataclass(frozen=True)
class BatchStream:
    """Batches of a run; ``parts`` are those of one optimiser step, ``rank`` tells processes apart.

    All processes show the same source in the same part of a step, each other crops of it.
    """

    sources: Sequence[Source]
    schedule: Schedule
    rules: CropRules
    seed: int
    parts: int = 1
    rank: int = 0

    def batch(self, step: int, part: int) -> Batch:
        """Return a batch; the same arguments give the same one, in any order of calls."""
        stage = self.schedule.at(step)
        source = choose(self.sources, stage.weights, random_numbers(self.seed, step, part))
        count = batch_size(source, stage.batch, self.rules.size)
        rng = random_numbers(self.seed, step, part, 1 + self.rank)
        return draw_batch(source, source.images, count, self.rules, rng)

    def ahead(self, first: int, workers: int = 1) -> Generator[Batch, None, None]:
        """Yield all batches from step ``first`` on in order, computed by ``workers`` threads in the background."""
        keys = ((step, part) for step in range(first, self.schedule.steps) for part in range(self.parts))
        pending: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
            _with_one_torch_thread(pool, workers)
            try:
                pending.extend(pool.submit(self.batch, *key) for key in islice(keys, AHEAD))
                while pending:
                    batch = pending.popleft().result()
                    pending.extend(pool.submit(self.batch, *key) for key in islice(keys, 1))
                    yield batch
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def measured(self) -> list[Batch]:
        """Return one batch of every source, of all bands, that never changes: of held-out images, if there are any."""
        batches, rules = [], replace(self.rules, drop_bands=0.0, masked=1.0, proxies=0.0)
        for number, source in enumerate(replace(source, most_bands=None, masked=None) for source in self.sources):
            count = max(1, min(MEASURED_CROPS, MEASURED_VALUES // (len(source.bands) * self.rules.size**2)))
            rng = random_numbers(self.seed, MEASURING, number)
            batches.append(draw_batch(source, source.held_out or source.images, count, rules, rng))
        return batches


def _with_one_torch_thread(pool: ThreadPoolExecutor, workers: int) -> None:
    """Start a pool's threads, each without threads of torch's own, which would take processors from the network."""
    before = torch.get_num_threads()
    started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(_start, started)
    started.wait()
    torch.set_num_threads(before)  # the setting of a thread that runs, and of those that start later


def _start(started: Barrier) -> None:
    torch.set_num_threads(1)
    started.wait()


def choose(sources: Sequence[Source], weights: Mapping[str, float], rng: np.random.Generator) -> Source:
    """Draw a source with chances in proportion to its weight."""
    chances = np.cumsum([weights[source.name] for source in sources])
    return sources[int(np.searchsorted(chances[:-1] / chances[-1], rng.random(), side="right"))]
