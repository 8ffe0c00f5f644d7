"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # one set of kernels on every machine

import numpy as np
import pytest
from hypothesis import settings

# Machines under load are slow, not wrong: hangs are found by the mutation tests and the faulthandler's timeout.
settings.register_profile("coldframe", deadline=None)
settings.load_profile("coldframe")


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    """Let arithmetic overflow and divide as the engines do: like IEEE hardware, without warnings."""
    with np.errstate(all="ignore"):
        yield
