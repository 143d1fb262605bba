"""Batch raster processing with the DOFA foundation model (Dynamic One-For-All, arXiv 2403.15356).

The packages follow one direction: ``cli`` → ``pipelines`` → ``raster``, ``sensors``, ``weights``, ``model``, ``heads``
→ ``errors``, ``resources``. Each command has a function of the same name, for instance
:func:`dofa_cli.pipelines.embed.embed`. Importing this package imports nothing else.
"""

__version__ = "0.1.0"
