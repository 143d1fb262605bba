"""What each step does: its stage, and the learning rate, which rises in a line and falls along half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dofa_cli.errors import OptionError
from dofa_cli.training.config import RunConfig, StageConfig

LR_AT_256 = 1.5e-4
"""Published peak learning rate for a batch of 256; it grows with the batch."""
WARM_UP_SHARE = 0.05


@dataclass(frozen=True)
class Stage:
    """One stage with every value settled; ``first`` is its first step, ``weights`` are those of sources by name."""

    name: str
    first: int
    steps: int
    batch: int
    lr: float
    warmup: int
    mask_ratio: float
    distill_weight: float
    weights: dict[str, float]

    @property
    def end(self) -> int:
        """The step after its last one."""
        return self.first + self.steps

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step, counted over all stages: linear warm-up, then half a cosine to 0."""
        done = step - self.first
        if done < self.warmup:
            return self.lr * (done + 1) / self.warmup
        share = (done - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Schedule:
    """Stages one after another."""

    stages: tuple[Stage, ...]

    @property
    def steps(self) -> int:
        """Steps over all stages."""
        return self.stages[-1].end

    def at(self, step: int) -> Stage:
        """Return the stage that a step belongs to."""
        return next(stage for stage in self.stages if step < stage.end)


def schedule(config: RunConfig) -> Schedule:
    """Settle a run's stages, a single one without ``[[stage]]``; :class:`OptionError` for sources that are none."""
    stages: list[Stage] = []
    for number, own in enumerate(config.stage or (StageConfig(steps=config.training.steps),), 1):
        stages.append(_settled(config, own, own.name or f"stage {number}", stages[-1].end if stages else 0))
    return Schedule(tuple(stages))


def _settled(config: RunConfig, own: StageConfig, name: str, first: int) -> Stage:
    usual = config.training
    batch = own.batch or usual.batch
    warmup = own.warmup if own.warmup is not None else usual.warmup
    distill = own.distill_weight if own.distill_weight is not None else config.distill.weight
    return Stage(
        name=name,
        first=first,
        steps=own.steps,
        batch=batch,
        lr=own.lr or usual.lr or LR_AT_256 * batch * usual.accumulate / 256,
        warmup=min(own.steps, round(WARM_UP_SHARE * own.steps) if warmup is None else warmup),
        mask_ratio=own.mask_ratio or usual.mask_ratio,
        distill_weight=distill if config.distils else 0.0,
        weights=_weights(config, own, name),
    )


def _weights(config: RunConfig, own: StageConfig, name: str) -> dict[str, float]:
    known = [source.name for source in config.named_sources]
    if unknown := own.weights.keys() - set(known):
        raise OptionError(f"{name} weights '{min(unknown)}', which is no source. There are {', '.join(known)}.")
    weights = {source.name: own.weights.get(source.name, source.weight) for source in config.sources}
    if not any(weights.values()):
        raise OptionError(f"{name} leaves every source out. Give one a weight above 0.")
    return weights
