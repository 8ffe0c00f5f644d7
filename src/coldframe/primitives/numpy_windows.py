"""Verbs over sliding windows, channels first, on numpy arrays."""

from __future__ import annotations


class WindowsNumpy:
    """Convolution and pooling."""
