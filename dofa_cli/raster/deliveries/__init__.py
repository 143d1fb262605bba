"""Products as agencies ship them: a folder, archive or metadata file that stands for many rasters."""
