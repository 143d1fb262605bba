"""What ``--json`` prints."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def to_json(value: Any) -> str:
    """Write a value as JSON, with null for NaN and infinity."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
