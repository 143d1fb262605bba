"""Shards on the workers of a Dask cluster, of this machine or of many."""
