"""What a user asks of ``dofa train``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Combine, Method, Task
from dofa_cli.pipelines.inference.run import ModelOptions
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.learning.folds import SplitOptions
from dofa_cli.pipelines.learning.labelled_scenes import LabelOptions
from dofa_cli.pipelines.scenes.prepare import SceneOptions

AUTO = "auto"


@dataclass(frozen=True)
class TrainRequest:
    """Fields are the command line's options of the same names; ``zooms`` is empty where labels decide.

    ``scene`` are files; where they are several inputs of places, ``inputs`` say which is which, and ``combine`` how
    their embeddings are joined. ``command`` is what was typed, for the report.
    """

    head: Path
    scene: tuple[str, ...]
    labels: str | None
    task: Task | None
    method: Method
    label: LabelOptions
    class_names: str | None
    unit: str
    options: SceneOptions
    model: ModelOptions
    window: int | None
    overlap: int | None
    zooms: tuple[int, ...]
    min_valid: float
    split: SplitOptions
    max_per_class: int | None
    class_weights: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    inputs: tuple[Input, ...] = ()
    combine: Combine = Combine.CONCAT

    @property
    def outputs(self) -> tuple[Path, Path, Path]:
        """The head, and its report as JSON and HTML."""
        return self.head, self.head.with_suffix(".report.json"), self.head.with_suffix(".report.html")


def check_joined(request: TrainRequest, *, asked: bool) -> None:
    """Refuse what several inputs do not go with, and ``--combine`` (if ``asked`` for) without them.

    Raises :class:`OptionError`.
    """
    if request.inputs and not request.method.is_token_head:
        raise OptionError(
            f"--method {request.method} sees the pixels of one input; several inputs are for linear, knn and mlp."
        )
    if asked and not request.inputs:
        raise OptionError(
            "--combine says how several inputs are joined, and there is one. Write inputs as FILE:sensor[:date], each "
            "of another sensor or date."
        )


def read_zooms(text: str | int) -> tuple[int, ...]:
    """Read ``auto`` (nothing), one zoom, or several to choose among on validation: ``1,2,4``."""
    if text == AUTO:
        return ()
    parts = str(text).split(",")
    if not all(part.strip().isdigit() and int(part) >= 1 for part in parts):
        raise OptionError(f"--zoom '{text}' is neither auto, a whole number above 0, nor several as in 1,2,4.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def read_ignored(text: str | None) -> tuple[int | str, ...]:
    """Read class values or names that count as unlabelled, separated by commas."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    return tuple(int(part) if part.lstrip("-").isdigit() else part for part in parts)


def checked_choice(name: str, value: str, allowed: type[Combine] | type[Method] | type[Task]) -> Any:
    """Return the member of an enumeration; :class:`OptionError` names them."""
    import difflib

    if value in list(allowed):
        return allowed(value)
    near = difflib.get_close_matches(value, list(allowed), 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise OptionError(f"{name} '{value}' is not one of {', '.join(allowed)}.{hint}")
