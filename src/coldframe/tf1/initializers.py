"""``tf.initializers``: what variables start from."""

from __future__ import annotations

from coldframe.tf1 import init_ops
from coldframe.tf1.init_ops import he_normal, he_uniform, lecun_normal, lecun_uniform
from coldframe.tf1.variable_lists import (
    global_variables_initializer as global_variables,
)
from coldframe.tf1.variable_lists import (
    local_variables_initializer as local_variables,
)
from coldframe.tf1.variable_lists import (
    variables_initializer as variables,
)

constant = init_ops.Constant
glorot_normal = init_ops.GlorotNormal
glorot_uniform = init_ops.GlorotUniform
identity = init_ops.Identity
ones = init_ops.Ones
orthogonal = init_ops.Orthogonal
random_normal = init_ops.RandomNormal
random_uniform = init_ops.RandomUniformV1
truncated_normal = init_ops.TruncatedNormal
uniform_unit_scaling = init_ops.UniformUnitScaling
variance_scaling = init_ops.VarianceScaling
zeros = init_ops.Zeros

__all__ = [
    "constant",
    "global_variables",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "local_variables",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "uniform_unit_scaling",
    "variables",
    "variance_scaling",
    "zeros",
]  # fmt: skip
