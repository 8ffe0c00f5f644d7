"""TensorFlow behaves as version 1 while tests of `coldframe.tf1` run, and as version 2 again for all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _tensorflow_1() -> Iterator[None]:
    """Switch TensorFlow to control flow, variables and shapes of version 1; eager execution stays on.

    Programs are built inside a graph, where that does not count. All tests of a process share one TensorFlow.
    """
    from tensorflow.python import tf2
    from tensorflow.python.framework import tensor, tensor_shape
    from tensorflow.python.ops import control_flow_v2_toggles, resource_variables_toggle

    tf2.disable()
    tensor_shape.disable_v2_tensorshape()
    resource_variables_toggle.disable_resource_variables()
    tensor.disable_tensor_equality()
    control_flow_v2_toggles.disable_control_flow_v2()
    yield
    tf2.enable()
    tensor_shape.enable_v2_tensorshape()
    resource_variables_toggle.enable_resource_variables()
    tensor.enable_tensor_equality()
    control_flow_v2_toggles.enable_control_flow_v2()
