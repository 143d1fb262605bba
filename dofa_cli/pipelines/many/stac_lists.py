"""STAC item collections and pages of search results: each item is a scene, in a small file of its own."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dofa_cli.errors import DamagedRaster, SceneNotFound
from dofa_cli.pipelines.many.json_stream import members
from dofa_cli.pipelines.many.scene_item import SceneItem, scene_at
from dofa_cli.raster.deliveries.stac_item import TIME_OUT_S, Item
from dofa_cli.raster.writer import explained

ENDINGS = (".json", ".geojson")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_PAGE = re.compile(r"/(?:items|search)/?$|\.(?:geo)?json$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.\-]+")


def may_be_catalogue(path: str) -> bool:
    """Whether a path or address looks like STAC's: items, or a page of them."""
    if _WEB.match(path):
        return bool(_PAGE.search(path.partition("?")[0])) or "/items/" in path
    return path.lower().endswith(ENDINGS)


def is_collection(path: str) -> bool:
    """Whether a local file holds a list of features, told by its first members; nothing is fetched."""
    if _WEB.match(path) or not Path(path).is_file():
        return False
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return any(key == "features" for key, _ in members(file, apart="features"))
    except (OSError, ValueError, RecursionError):
        return False


class Catalogue:
    """The items at a path or address.

    Those of a collection are written to ``folder``, one file each, where they are not there already: what is read
    later, perhaps by other processes, is one item. ``has_more`` is known after iterating.
    """

    def __init__(self, path: str, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.has_more = False

    def __iter__(self) -> Iterator[SceneItem]:
        """Yield the scenes in the catalogue's order, reading it item by item.

        Raises :class:`SceneNotFound` for an address that does not answer, :class:`DamagedRaster` for what is no list
        of items.
        """
        told: dict[str, Any] = {}
        count = 0
        with _opened(self.path) as file:
            try:
                for key, value in members(file, apart="features"):
                    if key != "features":
                        told[key] = value
                    elif _is_item(value):
                        count += 1
                        yield self._scene(value)
            except (ValueError, RecursionError) as error:
                raise DamagedRaster(f"{self.path} is no whole JSON file: {error}.") from None
        if _is_item(told):
            yield scene_at(self.path, taken=_taken(told))
        elif not count:
            raise DamagedRaster(
                f"{self.path} holds no STAC items. A list of scenes is a STAC item or item collection, a .txt file, or "
                "a .csv or .parquet file with a column 'scene'."
            )
        links = told.get("links")
        self.has_more = any(
            isinstance(one, dict) and one.get("rel") == "next" for one in (links if isinstance(links, list) else ())
        )

    def _scene(self, body: dict[str, Any]) -> SceneItem:
        name = _UNSAFE.sub("_", str(body.get("id") or "item"))
        catalogue = body.get("collection")  # ids are unique in one alone
        own = _UNSAFE.sub("_", f"{catalogue}_{name}") if isinstance(catalogue, str) else name
        path = self.folder / f"{own}.json"
        text = json.dumps(_with_whole_links(self.path, body), sort_keys=True)
        with explained(path):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                self.folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return SceneItem(name, (str(path),), taken=_taken(body))


def _with_whole_links(place: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return an item whose assets are named in full, so that it can lie anywhere."""
    item = Item(str(Path(place).absolute()) if not _WEB.match(place) else place, body)
    assets = {
        key: {**asset, "href": item.resolve(asset["href"])} if isinstance(asset.get("href"), str) else asset
        for key, asset in item.assets.items()
    }
    return body | {"assets": assets}


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "Feature" and isinstance(value.get("assets"), dict)


def _taken(body: dict[str, Any]) -> str | None:
    properties = body.get("properties")
    told = properties if isinstance(properties, dict) else {}
    found = told.get("datetime") or told.get("start_datetime")
    return str(found) if found else None


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    if not _WEB.match(path):
        try:
            with Path(path).open(encoding="utf-8-sig") as file:
                yield file
        except OSError as error:
            raise SceneNotFound(f"{path} cannot be read: {error.strerror or error}.") from None
        return
    shown = path.partition("?")[0]  # what follows may be a key
    headers = {"Accept": "application/geo+json, application/json", "User-Agent": "dofa"}
    try:
        with urlopen(Request(path, headers=headers), timeout=TIME_OUT_S) as answer:  # noqa: S310 # http and https alone
            yield io.TextIOWrapper(answer, encoding="utf-8-sig")
    except HTTPError as error:
        raise SceneNotFound(
            f"{shown} answers {error.code} {error.reason}. Check the address and access to it."
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SceneNotFound(f"{shown} cannot be reached: {reason}. Check the address and the network.") from None
