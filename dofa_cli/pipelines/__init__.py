"""One verb a file: open, stream, write. Only these modules know both rasters and tensors."""
