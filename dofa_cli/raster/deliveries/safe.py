"""SAFE, the folder format of the Copernicus satellites: its files, and XML read by local names in any namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

from dofa_cli.errors import DamagedRaster, NoBands
from dofa_cli.raster.deliveries.container import Container

SHOWN = 3
_FRACTION = re.compile(r"(\.\d{1,6})\d*")


def product_files(container: Container) -> tuple[str, ...]:
    """Return a container's files without folders and without what other systems hide in archives."""
    return tuple(member for member in container.members if not member.endswith("/") and not _is_hidden(member))


def named(files: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    """Return the files whose name without folders fits a pattern from its start."""
    return [file for file in files if pattern.match(PurePosixPath(file).name)]


def parse_xml(container: Container, member: str) -> ET.Element:
    """Return the root of an XML file; :class:`DamagedRaster` if it is cut or is no XML. Nothing is ever fetched."""
    content = container.text(member)
    try:
        return ET.fromstring(content)  # noqa: S314 - expat resolves no external entities and limits internal ones
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DamagedRaster(
            f"{member} in {container.path} is not whole XML: {error}. Fetch the product again."
        ) from None


def elements(root: ET.Element, *names: str) -> Iterator[ET.Element]:
    """Yield the elements whose tag is one of ``names``, whatever the namespace."""
    return (element for element in root.iter() if local_name(element) in names)


def texts(root: ET.Element, *names: str) -> list[str]:
    """Return the text of those elements, without those that hold none."""
    return [text for element in elements(root, *names) if (text := (element.text or "").strip())]


def first_text(root: ET.Element, *names: str) -> str | None:
    """Return the first of those texts."""
    return next(iter(texts(root, *names)), None)


def local_name(element: ET.Element) -> str:
    """Return an element's tag without its namespace."""
    return str(element.tag).rpartition("}")[2]


def utc_time(text: str | None) -> datetime | None:
    """Read an ISO 8601 time, in UTC where it states no zone; ``None`` for anything else."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", text or ""))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def refuse_several(path: str, what: str, names: Sequence[str]) -> None:
    """Raise :class:`NoBands` where ``names`` are more than one, since nothing tells which is meant."""
    if len(names) > 1:
        shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        raise NoBands(
            f"{path} holds {len(names)} {what} ({shown}). Name the folder of one of them, unpacked if need be."
        )


def _is_hidden(member: str) -> bool:
    """Whether a file is a system's own, such as the ``__MACOSX/._name`` twins of archives made on a Mac."""
    parts = PurePosixPath(member).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")
