"""GEO-Bench 1.0: a folder a data set, an HDF5 file a sample, to GeoTIFF files that everything else here reads.

Each HDF5 file holds a dataset a band, named ``04 - Red`` or ``04 - Red_2018-06-30``, and one called ``label`` for
segmentation. Everything else stands in a pickled attribute, which is never loaded: labels of images come from
``label_map.json`` (a class to samples) or ``label_stats.json`` (a sample to ones and zeros), which lie beside the
files, and splits from ``default_partition.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from dofa_cli.errors import BandMismatch, DamagedRaster, LabelsUnreadable, OptionError, SceneNotFound
from dofa_cli.heads.head import Task
from dofa_cli.pipelines.benchmarks.rows import Row
from dofa_cli.pipelines.benchmarks.sets import Benchmark
from dofa_cli.raster.writer import explained, working_file

PARTITION = "default_partition.json"
LABEL_MAP, LABEL_STATS = "label_map.json", "label_stats.json"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
LABEL = "label"
Open = Callable[[Path], Any]


def read_geobench(wanted: Benchmark, data: Path, out: Path, most: int | None = None) -> Iterator[Row]:
    """Yield the samples of a data set, written to folder ``out`` as GeoTIFF files unless they lie there already.

    ``data`` is the data set's folder or the one that holds it; ``most`` limits the samples of each split. Raises
    :class:`SceneNotFound`, :class:`LabelsUnreadable`, :class:`BandMismatch`, :class:`DamagedRaster`, and
    :class:`OptionError` without h5py.
    """
    folder = data / wanted.name if (data / wanted.name).is_dir() else data
    partition = _json(folder / PARTITION)
    labels = _labels(wanted, folder) if wanted.task is not Task.SEGMENT else {}
    opener = _opener()
    out.mkdir(parents=True, exist_ok=True)
    for theirs, ours in SPLITS.items():
        for sample in partition.get(theirs, ())[:most]:
            image, mask = out / f"{sample}.tif", out / f"{sample}.label.tif"
            if not image.exists() or (wanted.task is Task.SEGMENT and not mask.exists()):
                _convert(wanted, folder / f"{sample}.hdf5", image, mask, opener)
            label = str(mask) if wanted.task is Task.SEGMENT else _label(labels, sample, folder)
            yield Row(str(image), label, ours)


def _convert(wanted: Benchmark, path: Path, image: Path, mask: Path, opener: Open) -> None:
    """Write the bands in use of one sample, and its label raster where it has one."""
    if not path.exists():
        raise SceneNotFound(f"{path.parent / PARTITION} names {path.name}, which is not there.")
    try:
        with opener(path) as file:
            bands = {name: _band(file, stored, path) for name, stored in wanted.bands.items()}
            label = np.array(file[_key(file, LABEL, path)]) if wanted.task is Task.SEGMENT else None
    except OSError as error:
        raise DamagedRaster(f"{path} cannot be read as HDF5: {str(error).splitlines()[0]}") from None
    _write(image, _stacked(list(bands.values()), wanted), tuple(bands))
    if label is not None:
        _write(mask, label.squeeze()[None].astype(np.uint8), (LABEL,))


def _band(file: Mapping[str, Any], stored: str, path: Path) -> NDArray[Any]:
    return np.array(file[_key(file, stored, path)]).squeeze()


def _key(file: Mapping[str, Any], stored: str, path: Path) -> str:
    """Return the dataset of a band: its name, or its name and a date; the first date of several."""
    keys = sorted(key for key in file if key == stored or key.startswith(f"{stored}_"))
    if not keys:
        raise BandMismatch(f"{path} has no band '{stored}'; it has {', '.join(sorted(file))}.")
    return keys[0]


def _stacked(bands: list[NDArray[Any]], wanted: Benchmark) -> NDArray[Any]:
    """Stack bands (bands, height, width) as whole numbers: sets store them as floats or as reflectance."""
    limits = np.iinfo(wanted.dtype)
    values = np.round(np.stack(bands).astype(np.float64) * wanted.factor)
    return values.clip(limits.min, limits.max).astype(wanted.dtype)


def _write(path: Path, values: NDArray[Any], names: tuple[str, ...]) -> None:
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with (
        working_file(path) as working,
        explained(path),
        rasterio.open(working, "w", driver="GTiff", compress="deflate", **shape) as file,
    ):
        file.write(values)
        file.descriptions = names


def _labels(wanted: Benchmark, folder: Path) -> dict[str, str]:
    """Return the class of each sample, or several joined by ``|``."""
    if (folder / LABEL_MAP).exists():
        by_class = _json(folder / LABEL_MAP)
        return {sample: wanted.class_name(int(label)) for label, samples in by_class.items() for sample in samples}
    stats = _json(folder / LABEL_STATS)
    return {
        sample: "|".join(wanted.class_name(at) for at, share in enumerate(shares) if share)
        for sample, shares in stats.items()
    }


def _label(labels: Mapping[str, str], sample: str, folder: Path) -> str:
    if sample not in labels:
        raise LabelsUnreadable(f"Neither {LABEL_MAP} nor {LABEL_STATS} in {folder} has a label of '{sample}'.")
    return labels[sample]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabelsUnreadable(
            f"No {path.name} in {path.parent}. --data names a data set's folder of GEO-Bench 1.0, or the one above it."
        ) from None
    except (OSError, ValueError) as error:
        raise LabelsUnreadable(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise LabelsUnreadable(f"{path} holds no table of samples.")
    return content


def _opener() -> Open:
    try:
        import h5py
    except ImportError:
        raise OptionError("GEO-Bench files are HDF5, which needs h5py: pip install 'dofa[bench]'.") from None
    return lambda path: h5py.File(path, "r")
