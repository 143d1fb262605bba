"""Published checkpoints: what exists, where it lies on this machine, and whether a file is what it claims."""
