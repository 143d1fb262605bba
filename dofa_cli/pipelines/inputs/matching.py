"""Which of a head's inputs is which of the files that it is given."""

from __future__ import annotations

from collections.abc import Sequence

from dofa_cli.errors import OptionError, WrongHead
from dofa_cli.heads.head import Combine, Head, InputRecipe, Recipe
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.mapping.apply_head import HeadFile


def match_inputs(file: HeadFile, inputs: Sequence[Input]) -> tuple[Input | None, ...]:
    """Return what is given for each input of a head, in the head's order; ``None`` for what is not.

    A date may be left out where the head knows the sensor once. Raises :class:`WrongHead` for what is none of the
    head's inputs, :class:`OptionError` where two are the same.
    """
    recipe = file.head.recipe
    found: dict[str, Input] = {}
    for one in inputs:
        name = _name(recipe.inputs, one)
        if name is None:
            raise WrongHead(f"{one.name} is none of the inputs that {file.path} was trained on: {listed(recipe)}.")
        if name in found:
            raise OptionError(f"{found[name].name} and {one.name} are both {name}. A map takes each input once.")
        found[name] = one
    return tuple(found.get(one.name) for one in recipe.inputs)


def match_one(file: HeadFile, inputs: Sequence[Input]) -> Input:
    """Return the input that a head of one input takes; :class:`WrongHead` where that is none, or not clear."""
    sensor = file.head.recipe.sensor
    fitting = [one for one in inputs if one.sensor == sensor]
    if len(fitting) != 1:
        many = "none" if not fitting else f"{len(fitting)}"
        raise WrongHead(f"{file.path} takes a single {sensor} scene; {many} of the inputs given are such.")
    return fitting[0]


def refuse_plain(file: HeadFile, paths: Sequence[str]) -> None:
    """Refuse files that do not say which input they are, where the head has several: :class:`WrongHead`."""
    recipe = file.head.recipe
    if not recipe.inputs:
        return
    names = [path if len(paths) == len(recipe.inputs) else f"FILE{n}" for n, path in enumerate(paths, 1)]
    names += [f"FILE{number}" for number in range(len(names) + 1, len(recipe.inputs) + 1)]
    written = " ".join(f"{name}:{one.name}" for name, one in zip(names, recipe.inputs, strict=False))
    raise WrongHead(f"{file.path} was trained on several inputs of a place: {listed(recipe)}. Write {written}.")


def listed(recipe: Recipe) -> str:
    """List a head's inputs."""
    return ", ".join(one.name for one in recipe.inputs)


def stand_in(head: Head) -> str:
    """Say what a head takes where an input is missing."""
    if head.recipe.combine == Combine.MEAN:
        return "the mean of the others is taken"
    return "its mean over the training stands in"


def _name(known: Sequence[InputRecipe], one: Input) -> str | None:
    """Name the head's input that a given one is: that of the same date, or the only one where no date is said."""
    alike = [other for other in known if other.sensor == one.sensor]
    exact = next((other.name for other in alike if other.date == one.date), None)
    if exact is None and len(alike) == 1 and not (one.date and alike[0].date):
        return alike[0].name
    return exact
