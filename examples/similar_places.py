"""Find the cells of an embedding that look most like one place: cosine similarity as a GeoTIFF.

Usage: python examples/similar_places.py EMBEDDING.tif X Y [OUTPUT.tif]     (X and Y in the file's coordinates)
"""

import sys

import numpy as np
import rasterio


def main(embedding: str, x: float, y: float, output: str) -> None:
    with rasterio.open(embedding) as file:
        scales, offsets = (np.array(values)[:, None, None] for values in (file.scales, file.offsets))
        tokens = file.read(masked=True).astype(np.float32).filled(np.nan) * scales + offsets  # (D, rows, cols)
        row, col = file.index(x, y)
        profile = file.profile | {"count": 1, "dtype": "float32", "nodata": np.nan}
    direction = tokens / np.linalg.norm(tokens, axis=0)
    similarity = np.einsum("d,dhw->hw", direction[:, row, col], direction)
    with rasterio.open(output, "w", **profile) as file:
        file.write(similarity.astype(np.float32), 1)
    best = np.nanquantile(similarity, 0.95)
    print(f"{output}: 5 % of the cells are more alike than {best:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "similarity.tif")
