"""A namespace like `tf` of the modules of coldframe.tf1 that build nodes."""

from __future__ import annotations

import types
from importlib import import_module
from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework import convert, graph, shape

MODULES = [
    "variables",
    "math_ops",
    "array_ops",
    "string_ops",
    "linalg_ops",
    "signal_ops",
    "check_ops",
    "sparse_ops",
    "clip_ops",
    "logging_ops",
]
SUBSPACES = [
    "math",
    "bitwise",
    "linalg",
    "strings",
    "debugging",
    "sparse",
    "spectral",
    "signal",
    "manip",
    "quantization",
]


def namespace() -> Any:
    """Return an object with the functions of all those modules, and the `tf.math`-like ones below it."""
    tf = types.SimpleNamespace(**{("bool" if d.name == "bool" else d.name): d for d in dtypes.ALL})
    for module in (convert, graph, shape, *map(_module, MODULES)):
        vars(tf).update({n: v for n, v in vars(module).items() if not n.startswith("_")})
    for name in SUBSPACES:
        setattr(tf, name, _module(name))
    tf.nn = types.SimpleNamespace(top_k=tf.top_k)
    return tf


def _module(name: str) -> Any:
    return import_module(f"coldframe.tf1.{name}")
