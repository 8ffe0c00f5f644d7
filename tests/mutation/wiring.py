"""Graphs wired wrongly: nodes of a good graph renamed, rewired, robbed of attributes or given others, looped.

Where byte changes mostly end in a parse error, these all parse.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

_NAMES = ("", "^", ":", "a:b", "x:-1", "x:99999999999", "é", "/", "x" * 500, "^x", "x:0:0:0", "..", " ")
_INTS = (0, -1, 1, 2, 10**9, 2**31, 2**63 - 1, -(2**63))


def rewired(graph: Any, number: int) -> None:
    """Spoil a ``GraphDef`` message in place: one to three of the mistakes below."""
    rng = random.Random(number)
    bodies = [graph.node, *(f.node_def for f in graph.library.function)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        nodes = rng.choice([b for b in bodies if b] or bodies)
        if nodes:
            rng.choice(_MISTAKES)(graph, nodes, rng)


def _input(graph: Any, nodes: Any, rng: random.Random) -> None:
    node, other = rng.choice(nodes), rng.choice(nodes)
    name = rng.choice(
        (other.name, f"{other.name}:1", f"^{other.name}", node.name, f"{other.name}:0", rng.choice(_NAMES))
    )
    if node.input and rng.random() < 0.8:
        node.input[rng.randrange(len(node.input))] = name
    else:
        node.input.append(name)


def _lose_input(graph: Any, nodes: Any, rng: random.Random) -> None:
    node = rng.choice(nodes)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def _rename(graph: Any, nodes: Any, rng: random.Random) -> None:
    rng.choice(nodes).name = rng.choice((rng.choice(nodes).name, rng.choice(_NAMES)))


def _other_op(graph: Any, nodes: Any, rng: random.Random) -> None:
    functions = [f.signature.name for f in graph.library.function]
    rng.choice(nodes).op = rng.choice(
        (rng.choice(nodes).op, "NoSuchOp", *functions[:5], "While", "Merge", "NextIteration")
    )


def _lose_attr(graph: Any, nodes: Any, rng: random.Random) -> None:
    node = rng.choice(nodes)
    if node.attr:
        del node.attr[rng.choice(sorted(node.attr))]


def _swap_attr(graph: Any, nodes: Any, rng: random.Random) -> None:
    """Give an attribute the value of another one, of any node."""
    node, other = rng.choice(nodes), rng.choice(nodes)
    if node.attr and other.attr:
        node.attr[rng.choice(sorted(node.attr))].CopyFrom(other.attr[rng.choice(sorted(other.attr))])


def _odd_attr(graph: Any, nodes: Any, rng: random.Random) -> None:
    node = rng.choice(nodes)
    if not node.attr:
        return
    value = node.attr[rng.choice(sorted(node.attr))]
    kind = value.WhichOneof("value")
    if kind == "i":
        value.i = rng.choice(_INTS)
    elif kind == "type":
        value.type = rng.choice((0, 1, 2, 3, 7, 10, 14, 20, 21, 101, 103, 120, 999, 64))
    elif kind == "shape" and value.shape.dim:
        rng.choice(value.shape.dim).size = rng.choice(_INTS)
    elif kind == "tensor":
        _odd_tensor(value.tensor, rng)
    elif kind == "func":
        value.func.name = rng.choice(
            (rng.choice([f.signature.name for f in graph.library.function] or [""]), "gone", "")
        )
    elif kind == "list":
        value.list.i.append(rng.choice(_INTS))
    elif kind == "s":
        value.s = rng.choice((b"", b"\xff", b"NCHW", b"SAME", b"EXPLICIT", b"x" * 1000))
    else:
        value.Clear()


def _odd_tensor(tensor: Any, rng: random.Random) -> None:
    if tensor.tensor_shape.dim and rng.random() < 0.4:
        rng.choice(tensor.tensor_shape.dim).size = rng.choice((*_INTS, 3))
    elif rng.random() < 0.3:
        tensor.tensor_shape.dim.add(size=rng.choice(_INTS))
    elif rng.random() < 0.3:
        tensor.dtype = rng.choice((0, 1, 3, 7, 9, 10, 14, 20, 21, 999, 101))
    else:
        for field in ("int_val", "int64_val", "float_val"):
            values = getattr(tensor, field)
            for i in range(len(values)):
                values[i] = rng.choice((0, -1, 1, 2, 10**9, -(2**31), 2**31 - 1))
        if tensor.tensor_content:
            data = bytearray(tensor.tensor_content)
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0xFF))
            tensor.tensor_content = bytes(data)


def _double(graph: Any, nodes: Any, rng: random.Random) -> None:
    nodes.add().CopyFrom(rng.choice(nodes))


def _lose_node(graph: Any, nodes: Any, rng: random.Random) -> None:
    del nodes[rng.randrange(len(nodes))]


def _odd_function(graph: Any, nodes: Any, rng: random.Random) -> None:
    if not graph.library.function:
        return
    function = rng.choice(graph.library.function)
    kind = rng.randrange(5)
    if kind == 0 and function.ret:  # a result that is not there
        function.ret[rng.choice(sorted(function.ret))] = rng.choice(_NAMES)
    elif kind == 1 and function.signature.input_arg:
        del function.signature.input_arg[rng.randrange(len(function.signature.input_arg))]
    elif kind == 2:
        function.signature.name = rng.choice((rng.choice(graph.library.function).signature.name, *_NAMES))
    elif kind == 3 and function.node_def:  # it calls itself
        node = rng.choice(function.node_def)
        node.op = rng.choice((function.signature.name, "PartitionedCall"))
        node.attr["f"].func.name = function.signature.name
    elif function.signature.output_arg:
        function.signature.output_arg.add().CopyFrom(function.signature.output_arg[0])


_MISTAKES: tuple[Callable[[Any, Any, random.Random], None], ...] = (
    _input, _input, _input, _lose_input, _rename, _other_op, _lose_attr, _swap_attr, _odd_attr, _odd_attr, _odd_attr,
    _double, _lose_node, _odd_function,
)  # fmt: skip
