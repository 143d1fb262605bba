"""Workers on this machine: processes that share its cores, or one for each graphics card."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Sequence
from typing import Any

from dofa_cli.errors import OptionError

LOST_WORKERS = 10**6
"""Losses after which Dask itself gives a task up: never, since the run counts by shard."""
START_SECONDS = 300


def start_local(workers: int, cards: Sequence[str] | None = None) -> Any:
    """Start a ``LocalCluster`` of single-threaded worker processes, and wait until all are there.

    Each computes with its share of the cores. With several graphics cards (``cards``: the names that
    ``CUDA_VISIBLE_DEVICES`` takes, found by itself if ``None``) each worker sees one.
    """
    import logging

    from distributed import LocalCluster

    if workers < 1:
        raise OptionError(f"--workers {workers}: at least one worker is needed.")
    found = visible_cards() if cards is None else list(cards)
    start: Any = LocalCluster
    cluster = start(
        n_workers=0,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # a run keeps to its own limit; Dask would end workers by a measure that counts caches as used
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"allowed_failures": LOST_WORKERS},
        preload=["dofa_cli.pipelines.cluster.local"],
    )
    alike = cluster.new_spec
    for number in range(workers):
        env = worker_environment(number, workers, found)
        cluster.worker_spec[number] = alike | {"options": alike["options"] | {"env": env}}
    cluster.scale(workers)
    cluster.wait_for_workers(workers, timeout=START_SECONDS)
    return cluster


def worker_environment(number: int, workers: int, cards: Sequence[str]) -> dict[str, str]:
    """Return the environment of worker ``number`` of ``workers``: its threads, and its card where there are several."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return env | ({"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]} if len(cards) > 1 else {})


def visible_cards() -> list[str]:
    """Return the graphics cards that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [card for card in named.split(",") if card]
    return [str(number) for number in range(torch.cuda.device_count())]


def dask_setup(_: Any) -> None:
    """Have a local worker leave Ctrl-C, which a terminal sends to every process, to the driver; Dask calls this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(gc.freeze)  # one last collection through everything that was imported would take long
