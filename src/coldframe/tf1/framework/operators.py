"""What Python's operators do to tensors and variables, with TensorFlow's node names."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes


def _apply(op: str, x: Any, y: Any, scope: str) -> Any:
    from coldframe.tf1.framework import build

    chosen = _chosen(op, x)
    return build.raw_op(chosen, [x, y], {}, None if chosen.startswith("Bitwise") else scope)


def _binary(name: str, op: str) -> Any:
    """Return the pair of methods for ``x ? y``; the other operand becomes a constant of this one's dtype."""

    def forward(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import convert, graph

        if _defers(other):
            return NotImplemented
        x = convert.convert_to_tensor(self)  # a variable is read outside of the operator's scope
        with graph.name_scope(None, name, [x, other]) as scope:
            if not op.startswith("Bitwise"):
                other = convert.convert_to_tensor(other, preferred_dtype=x.dtype, name="y")
            return _apply(op, x, other, scope)

    def backward(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import convert, graph

        y = convert.convert_to_tensor(self)
        with graph.name_scope(None, name, [other, y]) as scope:
            x = convert.convert_to_tensor(other, dtype=y.dtype, name="x")
            return _apply(op, x, y, scope)

    return forward, backward


def _defers(other: Any) -> bool:
    return getattr(other, "_defer_operators", False)  # sparse tensors define the operation themselves


def _chosen(op: str, x: Any) -> str:
    if op == "AddV2":
        return "Add" if x.dtype is dtypes.string else "AddV2"
    if op == "BitwiseAnd" or op == "BitwiseOr":
        return op.replace("Bitwise", "Logical") if x.dtype is dtypes.bool_ else op
    return op


def _compare(op: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import build, convert

        return build.raw_op(op, [convert.convert_to_tensor(self), other], {}, None)

    return method


def _division(reverse: bool) -> Any:
    def method(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import convert, graph
        from coldframe.tf1.framework.division import truediv

        if not reverse and _defers(other):
            return NotImplemented
        own = convert.convert_to_tensor(self)
        x, y = (other, own) if reverse else (own, other)
        with graph.name_scope(None, "truediv", [x, y]) as scope:
            if reverse:
                y = convert.convert_to_tensor(y)
                x = convert.convert_to_tensor(x, dtype=y.dtype, name="x")
            else:
                x = convert.convert_to_tensor(x)
                y = convert.convert_to_tensor(y, preferred_dtype=x.dtype, name="y")
            return truediv(x, y, name=scope)

    return method


def _matmul(reverse: bool) -> Any:
    def method(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import convert, graph
        from coldframe.tf1.math_ops import matmul

        x, y = (other, self) if reverse else (self, other)
        with graph.name_scope(None, "matmul", [x, y]) as scope:
            like = convert.convert_to_tensor(self)
            x = convert.convert_to_tensor(x, preferred_dtype=like.dtype, name="a")
            y = convert.convert_to_tensor(y, preferred_dtype=like.dtype, name="b")
            return matmul(x, y, name=scope)

    return method


def _xor(reverse: bool) -> Any:
    def method(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import build, convert, graph
        from coldframe.tf1.math_ops import logical_xor

        own = convert.convert_to_tensor(self)
        with graph.name_scope(None, "xor", [own, other]) as scope:
            other = convert.convert_to_tensor(other, dtype=own.dtype, name="x" if reverse else "y")
            x, y = (other, own) if reverse else (own, other)
            if own.dtype is dtypes.bool_:
                return logical_xor(x, y, name=scope)
            return build.raw_op("BitwiseXor", [x, y], {}, None)

    return method


def _invert(self: Any) -> Any:
    from coldframe.tf1.framework import build, convert

    x = convert.convert_to_tensor(self)
    return build.raw_op("LogicalNot" if x.dtype is dtypes.bool_ else "Invert", [x], {}, None)


def _unary(op: str) -> Any:
    def method(self: Any) -> Any:
        from coldframe.tf1.framework import build, convert

        return build.raw_op(op, [convert.convert_to_tensor(self)], {}, None)

    return method


def _sparse(name: str, op: str) -> Any:
    """Return the method for a sparse tensor and what is dense, or becomes so: the elements that are there change."""

    def method(self: Any, other: Any) -> Any:
        from coldframe.tf1.framework import build, convert, graph

        with graph.name_scope(None, name, [self.indices, self.values, self.dense_shape, other]) as scope:
            other = convert.convert_to_tensor(other, dtype=self.dtype, name="y")
            values = build.raw_op(op, [self.indices, self.values, self.dense_shape, other], {}, scope)
            return convert.SparseTensor(self.indices, values, self.dense_shape)

    return method


class SparseOperators:
    """Operators of sparse tensors."""

    __slots__ = ()
    __array_priority__ = 100

    __mul__ = __rmul__ = _sparse("mul", "SparseDenseCwiseMul")
    __truediv__ = _sparse("truediv", "SparseDenseCwiseDiv")
    __div__ = _sparse("div", "SparseDenseCwiseDiv")


class Operators:
    """Operators of everything that can become a tensor. Equality is identity, as in TF1."""

    __slots__ = ()
    __array_priority__ = 100  # numpy's own operators give way

    __add__, __radd__ = _binary("add", "AddV2")
    __sub__, __rsub__ = _binary("sub", "Sub")
    __mul__, __rmul__ = _binary("mul", "Mul")
    __floordiv__, __rfloordiv__ = _binary("floordiv", "FloorDiv")
    __mod__, __rmod__ = _binary("mod", "FloorMod")
    __pow__, __rpow__ = _binary("pow", "Pow")
    __and__, __rand__ = _binary("and", "BitwiseAnd")
    __or__, __ror__ = _binary("or", "BitwiseOr")
    __truediv__, __rtruediv__ = _division(False), _division(True)
    __div__, __rdiv__ = _division(False), _division(True)
    __matmul__, __rmatmul__ = _matmul(False), _matmul(True)
    __lt__, __le__ = _compare("Less"), _compare("LessEqual")
    __gt__, __ge__ = _compare("Greater"), _compare("GreaterEqual")
    __neg__, __abs__, __invert__ = _unary("Neg"), _unary("Abs"), _invert

    __xor__, __rxor__ = _xor(False), _xor(True)

    def __getitem__(self, key: Any) -> Any:
        from coldframe.tf1.framework.convert import convert_to_tensor
        from coldframe.tf1.framework.slicing import slice_helper

        return slice_helper(convert_to_tensor(self), key)

    def __bool__(self) -> bool:
        raise TypeError(
            "Using a `tf.Tensor` as a Python `bool` is not allowed. Use `if t is not None:` instead of `if t:` to test "
            "if a tensor is defined, and use TensorFlow ops such as tf.cond to execute subgraphs conditioned on the "
            "value of a tensor."
        )

    def __iter__(self) -> Any:
        raise TypeError("Tensor objects are not iterable while the graph is built; use tf.unstack, or tf.map_fn.")

    def __len__(self) -> int:
        raise TypeError("A tensor has no length while the graph is built; use x.shape[0] or tf.shape(x)[0].")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise NotImplementedError(
            f"Cannot convert a symbolic tensor ({getattr(self, 'name', '')}) to a numpy array: it has no value before "
            "the graph runs. Fetch it with sess.run()."
        )
