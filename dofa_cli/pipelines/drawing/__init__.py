"""Pictures of rasters."""
