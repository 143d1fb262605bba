"""Pixels and grids: numpy, Dask and GDAL, never torch."""
