"""Files that are whole or not there at all, with what tells later that they still are what was written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.writer import explained, working_file
from dofa_cli.raster.zarr_places import move_store

CHUNK = 2**22


def save_array(folder: Path, name: str, values: NDArray[Any]) -> tuple[int, int]:
    """Write an array whole or not at all; return bytes and CRC-32 of the file.

    Where another process was first with the same bytes, its file stays.
    """
    with put_beside(folder / name, first_wins=True) as file:
        np.save(file, values)
    return file.size, file.crc


class Counted:
    """A file that counts the bytes written to it and their CRC-32."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size, self.crc = file, 0, 0

    def write(self, data: Any) -> int:
        """Write bytes."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += memoryview(data).nbytes
        return self.file.write(data)


@contextmanager
def put_beside(path: Path, *, first_wins: bool = False) -> Iterator[Counted]:
    """Give a file to write to that becomes ``path`` when the body succeeds; a failure leaves nothing.

    With ``first_wins`` a file of the same bytes that is there already stays. The working name holds the process id and
    a random word, so that processes on several hosts never share it.
    """
    working = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with explained(path):
        try:
            with working.open("wb") as file:
                counted = Counted(file)
                yield counted
            if not (first_wins and checked(path) == (counted.size, counted.crc)):
                working.replace(path)
        finally:
            working.unlink(missing_ok=True)


def moved(file: Path, output: Path) -> None:
    """Rename a file or a store of many, or copy a file where its output lies on another disk."""
    if file.is_dir():
        move_store(file, output)
        return
    with explained(output):
        try:
            file.replace(output)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with working_file(output) as working:
                shutil.copyfile(file, working)
            file.unlink()


def checked(path: Path) -> tuple[int, int]:
    """Return bytes and CRC-32 of a file, (-1, 0) for one that cannot be read."""
    size = crc = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    except OSError:
        return -1, 0
    return size, crc
