"""The XLA interpreter: op bodies on JAX tracers, for the engine that compiles them."""

from __future__ import annotations

from coldframe.primitives.jax_flow import FlowJax
from coldframe.primitives.jax_linear import LinearJax
from coldframe.primitives.jax_lists import ListsJax
from coldframe.primitives.jax_random import RandomJax
from coldframe.primitives.jax_shape import ShapeJax
from coldframe.primitives.jax_windows import WindowsJax


class JaxPrimitives(ListsJax, FlowJax, RandomJax, ShapeJax, LinearJax, WindowsJax):
    """All verbs on JAX tracers of known shapes; some are for ``jax`` and ``drawn`` rules alone: lists, control flow,
    random numbers.
    """
