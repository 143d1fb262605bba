"""Several inputs of one place: named, found together, read on one grid, run and joined."""
