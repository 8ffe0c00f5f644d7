"""`Optimizer`: gradients of a loss, and one update op per variable.

A subclass gives its hyperparameters, its slots and its update ops; names are TensorFlow's, so that checkpoints fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coldframe.tf1.dependencies import group, tuple_
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import IndexedSlices, constant, convert_to_tensor
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import colocate_with, control_dependencies, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.gradients import gradients
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.state_ops import assign_add
from coldframe.tf1.train import slots
from coldframe.tf1.variable_lists import trainable_variables
from coldframe.tf1.variables import ResourceVariable, Variable


class Optimizer:
    """Base of all optimizers.

    Args:
        use_locking: kept in the update ops.
        name: of the scope of its ops, and of its slots.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking, self._name = use_locking, name
        self._slots: dict[str, dict[Any, Any]] = {}
        self._non_slots: dict[Any, Any] = {}

    def get_name(self) -> str:
        return self._name

    # --- the public steps -------------------------------------------------------------------------------------
    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """Return an operation that takes one step to lessen `loss`; it adds 1 to `global_step` if there is one.

        Raises:
            ValueError: `loss` depends on none of the variables.
        """
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if not any(g is not None for g, _ in pairs):
            names = [v.name for _, v in pairs]
            raise ValueError(
                f"No gradients provided for any variable, check your graph for ops that do not support gradients, "
                f"between variables {names} and loss {loss}."
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Any]]:
        """Return pairs of a gradient (or None) and its variable.

        Args:
            loss: a tensor, or a callable that returns one.
            var_list: the variables; the trainable ones of the graph otherwise.
            gate_gradients: `GATE_NONE`, `GATE_OP` (all gradients of a node before any is used) or `GATE_GRAPH`.
        """
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ValueError(
                f"gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH. "
                f"Not {gate_gradients}"
            )
        if callable(loss) and not isinstance(loss, Tensor):
            loss = loss()
        _check_floats([loss])
        variables = _flat(trainable_variables() if var_list is None else var_list)
        if not variables:
            raise ValueError("No variables to optimize.")
        for v in variables:
            if not isinstance(v, Variable):
                raise TypeError(f"Argument is not a tf.Variable: {v!r}")
        found = gradients(
            loss, variables, grad_loss, gate_gradients=gate_gradients == self.GATE_OP,
            aggregation_method=aggregation_method, colocate_gradients_with_ops=colocate_gradients_with_ops,
        )  # fmt: skip
        if gate_gradients == self.GATE_GRAPH:
            found = tuple_(found)
        return list(zip(found, variables, strict=True))

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Operation:
        """Return an operation that updates the variables; it adds 1 to `global_step` if there is one.

        Args:
            grads_and_vars: pairs as `compute_gradients` returns them.
        """
        pairs = [(_gradient(g), v) for g, v in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        variables = [v for g, v in pairs if g is not None]
        if not variables:
            raise ValueError(f"No gradients provided for any variable: {[str(v) for _, v in pairs]}.")
        graph = outermost(get_default_graph())
        with graph.as_default(), graph.control_dependencies(None):
            self._create_slots(variables)
        with name_scope(name, self._name) as scope:
            self._prepare()
            updates = []
            for grad, var in pairs:
                if grad is not None:
                    with name_scope(f"update_{var.op.name}", None), colocate_with(var):
                        updates.append(self._update(grad, var))
            if global_step is None:
                done = self._finish(updates, scope)
            else:
                with control_dependencies([self._finish(updates, "update")]), colocate_with(global_step):
                    done = _count(global_step, scope)
        operation: Operation = getattr(done, "op", done)
        trained = get_default_graph().get_collection_ref(GraphKeys.TRAIN_OP)
        if operation not in trained:
            trained.append(operation)
        return operation

    def _update(self, grad: Any, var: Any) -> Any:
        if isinstance(var, ResourceVariable):
            op = (
                self._resource_apply_sparse_duplicate_indices(grad.values, var, grad.indices)
                if isinstance(grad, IndexedSlices)
                else self._resource_apply_dense(grad, var)
            )
        elif isinstance(grad, IndexedSlices):
            if var.constraint is not None:
                raise RuntimeError("Cannot use a constraint function on a sparse variable.")
            return self._apply_sparse_duplicate_indices(grad, var)
        else:
            op = self._apply_dense(grad, var)
        if var.constraint is None:
            return op
        with control_dependencies([op]):
            return var.assign(var.constraint(var))

    # --- for subclasses ---------------------------------------------------------------------------------------
    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Make the slots of the variables; nothing unless a subclass has any."""

    def _prepare(self) -> None:
        """Make tensors of the hyperparameters."""

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no dense update of reference variables")

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no sparse update of reference variables")

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no dense update of resource variables")

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no sparse update of resource variables")

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        """Sum the rows that are named more than once, then update."""
        values, indices = deduplicated(grad.values, grad.indices)
        return self._apply_sparse(IndexedSlices(values, indices, grad.dense_shape), var)

    def _resource_apply_sparse_duplicate_indices(self, grad: Any, handle: Any, indices: Any) -> Any:
        """Sum the rows that are named more than once, then update."""
        values, unique = deduplicated(grad, indices)
        return self._resource_apply_sparse(values, handle, unique)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """Return the operation that has run when all updates have."""
        return group(*update_ops, name=name_scope)

    def _call_if_callable(self, value: Any) -> Any:
        return value() if callable(value) and not isinstance(value, (Tensor, Variable)) else value

    def _tensor(self, value: Any, name: str) -> Any:
        return convert_to_tensor(self._call_if_callable(value), name=name)

    # --- slots ------------------------------------------------------------------------------------------------
    def get_slot(self, var: Any, name: str) -> Any:
        """Return the slot `name` of a variable, or None."""
        if isinstance(var, PartitionedVariable):
            parts = [self.get_slot(v, name) for v in var]
            if any(p is None for p in parts):
                return None
            return PartitionedVariable(f"{var.name}/{self._name}", var.shape, var.dtype, parts, var.partitions)
        return self._slots.get(name, {}).get(_key(var))

    def get_slot_names(self) -> list[str]:
        """Return the names of its slots, sorted."""
        return sorted(self._slots)

    def variables(self) -> list[Any]:
        """Return its own variables, those of the default graph, sorted by name."""
        graph = get_default_graph()
        own = [v for v in self._non_slots.values() if v.graph is graph]
        own += [v for s in self._slots.values() for v in s.values() if v.graph is graph]
        return sorted(own, key=lambda v: v.name)

    def _slot_dict(self, name: str) -> dict[Any, Any]:
        return self._slots.setdefault(name, {})

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Any:
        return self._slot(var, slot_name, lambda: slots.create_zeros_slot(var, op_name))

    def _get_or_make_slot(self, var: Any, val: Any, slot_name: str, op_name: str) -> Any:
        return self._slot(var, slot_name, lambda: slots.create_slot(var, val, op_name))

    def _get_or_make_slot_with_initializer(
        self, var: Any, initializer: Any, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Any:
        return self._slot(
            var, slot_name, lambda: slots.create_slot_with_initializer(var, initializer, shape, dtype, op_name)
        )

    def _slot(self, var: Any, slot_name: str, make: Callable[[], Any]) -> Any:
        named = self._slot_dict(slot_name)
        if _key(var) not in named:
            named[_key(var)] = make()
        return named[_key(var)]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Any:
        key = (name, colocate_with.graph)
        if key not in self._non_slots:
            with get_default_graph().colocate_with(colocate_with):
                self._non_slots[key] = Variable(
                    initial_value, name=name, trainable=False,
                    use_resource=isinstance(colocate_with, ResourceVariable),
                )  # fmt: skip
        return self._non_slots[key]

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Any:
        return self._non_slots.get((name, graph))


def _key(var: Any) -> Any:
    return (var.op.graph, var.op.name)


def _flat(variables: Any) -> list[Any]:
    flat: list[Any] = []
    single = isinstance(variables, (Variable, PartitionedVariable)) or not isinstance(variables, Iterable)
    for v in [variables] if single else variables:
        flat.extend(v) if isinstance(v, PartitionedVariable) else flat.append(v)
    return flat


def _check_floats(tensors: Sequence[Any]) -> None:
    for t in tensors:
        if not t.dtype.is_float:
            raise ValueError(f"Invalid type {t.dtype.name} for {t.name}, expected: a floating-point type.")


def _gradient(grad: Any) -> Any:
    return grad if grad is None or isinstance(grad, IndexedSlices) else convert_to_tensor(grad)


def _count(global_step: Any, name: str) -> Any:
    if isinstance(global_step, ResourceVariable):
        return raw_op(
            "AssignAddVariableOp", [global_step.handle, constant(1, global_step.dtype, name="Const")], {}, name
        )
    return assign_add(global_step, 1, name=name)


def deduplicated(values: Any, indices: Any) -> tuple[Any, Any]:
    """Return the sums of rows that have the same index, and each index once."""
    unique, positions = raw.Unique(indices)
    return raw.UnsortedSegmentSum(values, positions, raw.Shape(unique)[0]), unique
