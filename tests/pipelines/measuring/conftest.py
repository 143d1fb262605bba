from __future__ import annotations

import pytest

from tests.made import reflectance


@pytest.fixture(scope="session")
def scene_values():
    """Values of a scene of three bands."""
    return reflectance(3, 80, 90)
