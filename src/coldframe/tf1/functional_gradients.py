"""Gradients of ops that call functions: they build functions themselves, so they live with the graph API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

RULES: Final[dict[str, Callable[..., Any]]] = {}
