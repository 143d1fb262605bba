"""Small HDF5 files, written byte by byte: the packages that write them are not needed otherwise.

Only what tests use: groups, whole (contiguous) arrays of numbers or text, and attributes. Layout by the HDF5 File
Format Specification, version 3.0: superblock 0, object headers 1, links as messages.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

UNDEFINED = 2**64 - 1
SUPERBLOCK = 96
_SPACE, _LINKS, _TYPE, _FILL, _LINK, _LAYOUT, _GROUP, _ATTRIBUTE = 1, 2, 3, 5, 6, 8, 10, 12


@dataclass(frozen=True)
class Array:
    """An array with attributes."""

    values: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Named arrays and groups, with attributes."""

    members: Mapping[str, Array | Group]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def write_hdf5(path: Path, root: Group) -> Path:
    """Write a file."""
    content = bytearray(SUPERBLOCK)
    address = _put(content, root)
    sizes = struct.pack("<BBBxBBBxHHI", 0, 0, 0, 0, 8, 8, 4, 16, 0)
    addresses = struct.pack("<4Q", 0, UNDEFINED, len(content), UNDEFINED)
    content[:SUPERBLOCK] = b"\x89HDF\r\n\x1a\n" + sizes + addresses + struct.pack("<QQII16x", 0, address, 0, 0)
    path.write_bytes(content)
    return path


def _put(content: bytearray, node: Array | Group) -> int:
    """Append a node with all below it; return the address of its header."""
    if isinstance(node, Array):
        values = np.ascontiguousarray(node.values)
        at = _append(content, values.tobytes())
        messages = [
            _message(_SPACE, _space(values.shape)),
            _message(_TYPE, _type(values.dtype)),
            _message(_FILL, bytes([2, 1, 0, 0])),
            _message(_LAYOUT, struct.pack("<BBQQ", 3, 1, at, values.nbytes)),
        ]
    else:
        links = [(name.encode(), _put(content, member)) for name, member in node.members.items()]
        messages = [
            _message(_LINKS, struct.pack("<BBQQ", 0, 0, UNDEFINED, UNDEFINED)),
            _message(_GROUP, bytes(2)),
            *(_message(_LINK, bytes([1, 0, len(name)]) + name + struct.pack("<Q", to)) for name, to in links),
        ]
    messages += [_attribute(name, value) for name, value in node.attributes.items()]
    body = b"".join(messages)
    return _append(content, struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)


def _append(content: bytearray, data: bytes) -> int:
    content.extend(bytes(-len(content) % 8))
    at = len(content)
    content.extend(data)
    return at


def _message(kind: int, body: bytes) -> bytes:
    body = _padded(body)
    return struct.pack("<HHB3x", kind, len(body), 0) + body


def _attribute(name: str, value: Any) -> bytes:
    values = np.asarray(value)
    if values.dtype.kind == "U":
        values = np.char.encode(values, "utf-8")
        values = values.astype(f"S{values.dtype.itemsize + 1}")
    parts = (name.encode() + b"\0", _type(values.dtype), _space(values.shape))
    lengths = struct.pack("<BxHHH", 1, *map(len, parts))
    return _message(_ATTRIBUTE, lengths + b"".join(map(_padded, parts)) + values.tobytes())


def _space(shape: tuple[int, ...]) -> bytes:
    return struct.pack("<BBB5x", 1, len(shape), 0) + b"".join(struct.pack("<Q", size) for size in shape)


def _type(dtype: np.dtype[Any]) -> bytes:
    """Describe text, whole numbers or IEEE floats, all little-endian."""
    size = dtype.itemsize
    if dtype.kind == "S":
        return struct.pack("<B3xI", 0x13, size)
    if dtype.kind in "iu":
        return struct.pack("<BB2xIHH", 0x10, 8 if dtype.kind == "i" else 0, size, 0, 8 * size)
    sign, exponent_at, exponent, mantissa, bias = {4: (31, 23, 8, 23, 127), 8: (63, 52, 11, 52, 1023)}[size]
    shape = struct.pack("<HHBBBBI", 0, 8 * size, exponent_at, exponent, 0, mantissa, bias)
    return struct.pack("<BBBxI", 0x11, 0x20, sign, size) + shape


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
