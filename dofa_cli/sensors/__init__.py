"""Instruments: what each band is, what its pixel values mean, and what the weights saw of it in training."""
