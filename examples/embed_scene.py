"""Embed the example scene from Python, and read the result back with rasterio.

Usage: python examples/embed_scene.py [OUTPUT.tif]
"""

import sys
from pathlib import Path

import rasterio

from dofa_cli.pipelines.embed import embed

SCENE = sorted(Path(__file__).parent.glob("sentinel2/*.jp2"))


def main(output: str) -> None:
    report = embed(SCENE, output, sensor="sentinel2", overwrite=True, say=print)
    print(f"{report.windows} windows, {report.area_km2:.1f} km² in {report.seconds:.1f} s")
    with rasterio.open(report.output) as file:
        print(f"{file.count} dimensions on {file.height} × {file.width} cells of {file.res[0]:g} m, {file.crs}")
        print(f"made with {file.tags()['weights']}, bands {file.tags()['bands']}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "embedding.tif")
