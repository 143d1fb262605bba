"""What the finished shards of a run belong to: its inputs, weights and options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VERSION = 1
"""Of the manifest, the records and the part files together."""
SHOWN = 4
"""Differences that are named; the others are counted."""
ANSWER_SECONDS = 20
LONGEST = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells that an input was replaced: size in bytes, and time of change or the tag that a server gives.

    All but ``path`` are ``None`` where nothing is known.
    """

    path: str
    size: int | None = None
    stamp: int | str | None = None

    def difference(self, other: Fingerprint) -> str | None:
        """Say how ``other``, of the same path, differs in what is known of both."""
        if None not in (self.size, other.size) and self.size != other.size:
            return f"{self.path} changed (size {self.size} -> {other.size} bytes)"
        if None not in (self.stamp, other.stamp) and self.stamp != other.stamp:
            return f"{self.path} was written again since"
        return None


@dataclass(frozen=True)
class Manifest:
    """What finished shards belong to, in plain JSON values.

    ``verb`` is embed, segment or classify; ``options`` is everything else that the shards depend on. ``settled`` are
    facts that the run found out before its first shard; they follow from the rest and are taken over, not compared.
    """

    verb: str
    inputs: tuple[Fingerprint, ...]
    weights: str
    weights_sha256: str
    options: dict[str, Any]
    version: int = VERSION
    settled: dict[str, Any] = field(default_factory=dict)

    def differences(self, other: Manifest) -> list[str]:
        """Say how ``other`` differs, one phrase each; empty for the same work."""
        return list(self._differences(other))

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Undo :meth:`to_json`; ``ValueError`` for anything else."""
        try:
            plain = json.loads(text)
            inputs = tuple(Fingerprint(**one) for one in plain.pop("inputs"))
            found = cls(inputs=inputs, **plain)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from None
        return found

    def _differences(self, other: Manifest) -> Iterator[str]:
        if self.verb != other.verb:
            yield f"it was dofa {self.verb}, is dofa {other.verb}"
            return
        yield from _between_inputs(self.inputs, other.inputs)
        if self.weights_sha256 != other.weights_sha256:
            names = f"were {self.weights}, are {other.weights}"
            yield f"weights {names}" if self.weights != other.weights else f"the file of weights {self.weights} changed"
        mine, others = json.loads(json.dumps(self.options)), json.loads(json.dumps(other.options))
        for name in sorted({*mine, *others}):
            before, now = mine.get(name), others.get(name)
            if before != now:
                yield f"{name} was {_shown(before)}, is {_shown(now)}"


def fingerprint(path: str) -> Fingerprint:
    """Describe an input: a file, the newest and the sum of a folder's files, or what a server says of an address.

    Local paths become absolute, so that it does not matter from where a run is started.
    """
    if (address := path.removeprefix("/vsicurl/")).startswith(("http://", "https://")):
        return _of_address(address)
    here = Path(path).absolute()
    if here.is_dir():
        found = [one.stat() for one in sorted(here.rglob("*")) if one.is_file()]
        newest = max((one.st_mtime_ns for one in found), default=0)
        return Fingerprint(str(here), sum(one.st_size for one in found), newest)
    try:
        known = here.stat()
    except OSError:
        return Fingerprint(path)
    return Fingerprint(str(here), known.st_size, known.st_mtime_ns)


def replaced(inputs: Sequence[Fingerprint]) -> list[str]:
    """Say which inputs are others now; what cannot be asked at the moment counts as unchanged."""
    now = [fingerprint(one.path) for one in inputs]
    return list(_between_inputs(inputs, now))


def told(differences: Sequence[str]) -> str:
    """Join differences to one line."""
    more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return "; ".join(differences[:SHOWN]) + more


def _between_inputs(before: Sequence[Fingerprint], now: Sequence[Fingerprint]) -> Iterator[str]:
    if [one.path for one in before] != [one.path for one in now]:
        old, new = {one.path: None for one in before}, {one.path: None for one in now}
        yield from (f"{path} is no longer an input" for path in old if path not in new)
        yield from (f"{path} is a new input" for path in new if path not in old)
        if old.keys() == new.keys():
            yield "the inputs stand in another order"
        return
    yield from (text for a, b in zip(before, now, strict=True) if (text := a.difference(b)))


def _of_address(path: str) -> Fingerprint:
    """Ask a server for size and tag; an answer that does not come leaves them unknown."""
    from urllib.request import Request, urlopen

    asked = Request(path, method="HEAD")  # noqa: S310 - the caller looked at the scheme
    try:
        with urlopen(asked, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            size, tag = answer.headers.get("Content-Length"), answer.headers.get("ETag")
            return Fingerprint(path, int(size) if size else None, tag or answer.headers.get("Last-Modified"))
    except (OSError, ValueError):
        return Fingerprint(path)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
