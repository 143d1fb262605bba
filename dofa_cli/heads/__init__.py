"""Heads: tokens in, classes or numbers out. Tensors and shapes only; files of pixels are read elsewhere."""
