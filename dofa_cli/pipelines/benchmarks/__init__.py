"""Public data sets with published figures: one TOML file each, and readers of the layouts that they come in."""
