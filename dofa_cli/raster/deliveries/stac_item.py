"""A STAC item: fetched or read, checked to be one, with its links resolved."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, url2pathname, urlopen

from dofa_cli.errors import DamagedRaster, NoBands, SceneNotFound

LARGEST_ITEM = 16 * 2**20
TIME_OUT_S = 30.0
SHOWN_ITEMS = 3

_WEB = re.compile(r"https?://", re.IGNORECASE)
_SUFFIXES = (".json", ".geojson")


@dataclass(frozen=True)
class Item:
    """An item's JSON object; ``place`` is the path or address that it was read from."""

    place: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.body.get("id") or "")

    @property
    def collection(self) -> str:
        """The id of its collection, in lower case."""
        return str(self.body.get("collection") or "").lower()

    @property
    def properties(self) -> dict[str, Any]:
        """What the catalogue says of the whole scene."""
        told = self.body.get("properties")
        return told if isinstance(told, dict) else {}

    @property
    def assets(self) -> dict[str, dict[str, Any]]:
        """The files, by the key that the catalogue gives them."""
        return {key: asset for key, asset in self.body["assets"].items() if isinstance(asset, dict)}

    def resolve(self, href: str) -> str:
        """Return what GDAL opens for a link; relative ones start where the item lies, or whence it says it comes."""
        if href.startswith("file://"):
            return url2pathname(urlsplit(href).path)
        if "://" in href or href.startswith("/vsi"):
            return href
        if _WEB.match(self.place):
            return urljoin(self.place, href)
        local = Path(self.place).parent / href
        origin = next((str(link.get("href")) for link in self._links() if link.get("rel") == "self"), "")
        return urljoin(origin, href) if _WEB.match(origin) and not local.exists() else str(local)

    def _links(self) -> list[dict[str, Any]]:
        links = self.body.get("links")
        return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def is_local(path: str) -> bool:
    """Whether GDAL would look for a path in the file system."""
    return "://" not in path and not path.startswith("/vsi")


def open_item(path: str) -> Item | None:
    """Return the item in a ``.json`` file or at an http(s) address, or ``None`` where it is something else.

    Raises :class:`SceneNotFound` for an address that does not answer, :class:`DamagedRaster` for what is no JSON, and
    :class:`NoBands` for catalogues, collections and lists of items.
    """
    if _WEB.match(path):
        steps = urlsplit(path).path.lower()
        if not steps.endswith(_SUFFIXES) and not re.search(r"/items/[^/.]+$", steps):
            return None
        data, place = _fetch(path)
    else:
        file = Path(path)
        if not path.lower().endswith(_SUFFIXES) or not file.is_file() or file.stat().st_size > LARGEST_ITEM:
            return None
        data, place = file.read_bytes(), path
    return _checked(path, place, _parsed(path, data))


def _fetch(url: str) -> tuple[bytes, str]:
    """Return the body at an address, and the address after redirection."""
    shown = url.partition("?")[0]  # what follows may be a key
    headers = {"Accept": "application/geo+json, application/json", "User-Agent": "dofa"}
    request = Request(url, headers=headers)  # noqa: S310 # open_item lets http and https through alone
    try:
        with urlopen(request, timeout=TIME_OUT_S) as answer:  # noqa: S310 # idem
            data, place = answer.read(LARGEST_ITEM + 1), answer.geturl()
    except HTTPError as error:
        error.close()
        raise SceneNotFound(
            f"{shown} answers {error.code} {error.reason}. Check the address and access to it."
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SceneNotFound(f"{shown} cannot be reached: {reason}. Check the address and the network.") from None
    if len(data) > LARGEST_ITEM:
        raise DamagedRaster(f"{shown} is larger than {LARGEST_ITEM >> 20} MB, so it is no STAC item.")
    return data, place


def _parsed(path: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedRaster(f"{path} is no whole JSON file: {error}.") from None


def _checked(path: str, place: str, body: Any) -> Item | None:
    if not isinstance(body, dict):
        return None
    kind, features = body.get("type"), body.get("features")
    if kind == "Feature" and isinstance(body.get("assets"), dict):
        return Item(place, body)
    if kind in ("Collection", "Catalog") and "stac_version" in body:
        raise NoBands(f"{path} is a STAC {kind}, not an item. Name the address or file of one item.")
    if kind == "FeatureCollection" and isinstance(features, list):
        items = [one for one in features if isinstance(one, dict) and isinstance(one.get("assets"), dict)]
        if items:
            ids = ", ".join(str(one.get("id")) for one in items[:SHOWN_ITEMS])
            more = ", …" if len(items) > SHOWN_ITEMS else ""
            raise NoBands(f"{path} holds {len(items)} STAC items ({ids}{more}). Name the address or file of one item.")
    return None
