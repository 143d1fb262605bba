"""Verbs whose output may be at an address: the result is made here, then uploaded whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.shards.lock import locked
from dofa_cli.pipelines.shards.stop import stoppable
from dofa_cli.raster.remote_output import remote_output, staging_name
from dofa_cli.raster.zarr_places import is_url

P = ParamSpec("P")
Report = TypeVar("Report")
Moved = Callable[[str], str]
"""Maps the path of a file that was uploaded to its address; other paths stay."""


def uploading(
    renamed: Callable[[Report, Moved], Report],
    *,
    direct: Callable[[Any], bool] = lambda _: False,
    also: Sequence[str] = (),
) -> Callable[[Callable[P, Report]], Callable[P, Report]]:
    """Let a verb write to an ``output`` such as ``s3://bucket/map.tif``, with everything that it writes beside it.

    ``renamed`` puts addresses into a verb's report, ``direct`` says which addresses the verb writes to itself, ``also``
    names arguments that are outputs too and may be in the same folder. The verb runs with ``keep_parts``, so that an
    upload that failed is repeated by the same command without computing anything. Raises what
    :func:`~dofa_cli.raster.remote_output.remote_output` raises.
    """

    def around(verb: Callable[P, Report]) -> Callable[P, Report]:
        @wraps(verb)
        def run(*args: P.args, **kwargs: P.kwargs) -> Report:
            bound = signature(verb).bind(*args, **kwargs)
            asked = bound.arguments
            output = asked.get("output")
            beside = {name: str(asked[name]) for name in also if is_url(asked.get(name) or "")}
            _check_beside(beside, str(output))
            if output is None or not is_url(output) or direct(output):
                return verb(*args, **kwargs)
            url = str(output)
            if asked.get("dry_run"):
                asked["output"] = name = PurePosixPath(url).name
                return renamed(verb(*bound.args, **bound.kwargs), _moved(Path(name), url))
            with _one_run(url, asked.get("say")), remote_output(url, overwrite=asked.get("overwrite", False)) as local:
                asked |= {name: local.with_name(PurePosixPath(one).name) for name, one in beside.items()}
                asked |= {"output": local, "keep_parts": True}
                asked["overwrite"] = asked.get("overwrite", False) or local.exists()
                report = verb(*bound.args, **bound.kwargs)
            return renamed(report, _moved(local, url))

        return run

    return around


@contextmanager
def _one_run(url: str, say: Callable[[str], object] | None) -> Iterator[None]:
    """Keep other runs away from what is made here for ``url``, and heed signals, until it is uploaded."""
    with stoppable(say or (lambda _: None)), locked(Path.cwd() / staging_name(url).removeprefix("."), url):
        yield


def _check_beside(others: Mapping[str, str], output: str) -> None:
    folder = output.rpartition("/")[0]
    for name, url in others.items():
        if not is_url(output) or url.rpartition("/")[0] != folder:
            raise OptionError(f"--{name} {url} is uploaded with the output only: name -o in the same folder.")


def _moved(local: Path, url: str) -> Moved:
    folder = url.rpartition("/")[0]
    return lambda path: f"{folder}/{Path(path).name}" if Path(path).parent == local.parent else path
