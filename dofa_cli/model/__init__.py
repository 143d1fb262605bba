"""DOFA in PyTorch, one file per box of the paper's figure (arXiv 2403.15356).

Speaks tensors and shapes, never rasters.
"""
