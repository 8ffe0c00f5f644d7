"""Optimizers: ops that take one training step on a variable and its slots (momentum, accumulators, ...).

An update rule is a pure function over primitives ``xp``: of the variable, its slots, the gradient and scalars, in the
order of the op's inputs; it returns what the variable and its slots become. Four ops share it:

- ``ApplyX`` (references, hands the variable out again) and ``ResourceApplyX`` take a gradient of the variable's shape;
- ``SparseApplyX`` and ``ResourceSparseApplyX`` take a gradient of some rows, with the rows' ``indices`` right after it.
  A row that is named twice takes two steps, in order.

Rules follow the formulas of TensorFlow's CPU kernels, in the variable's dtype at every step.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import from_numpy
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Body, Op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import largest
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Rule = Callable[..., tuple[Array, ...]]


# --- from a rule to its ops -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Step:
    """The inputs of one training step, sorted by what they are.

    Attributes:
        handles: the variable and its slots, always the first inputs.
        values: what they hold.
        rest: the inputs after them: scalars, and the gradient at place `at`.
        at: where in `rest` the gradient is.
    """

    handles: tuple[Handle, ...]
    values: tuple[Array, ...]
    rest: tuple[Array, ...]
    at: int

    @property
    def grad(self) -> Array:
        return self.rest[self.at]

    def check(self, grad_shape: tuple[int, ...]) -> None:
        """Refuse slots or a gradient of another shape, and hyperparameters that are no scalars."""
        var = self.handles[0]
        for handle, value in zip(self.handles[1:], self.values[1:], strict=True):
            if value.shape != self.values[0].shape:
                raise refuse(
                    f"variable `{var.name}` and its slot `{handle.name}` differ",
                    expected=list(self.values[0].shape), found=list(value.shape),
                )  # fmt: skip
        for i, scalar in enumerate(self.rest):
            if i != self.at and scalar.ndim:
                raise refuse(f"a hyperparameter of `{var.name}` is a scalar", found=f"shape {list(np.shape(scalar))}")
        if self.grad.shape != grad_shape:
            raise refuse(
                f"the gradient does not fit variable `{var.name}`", expected=list(grad_shape),
                found=list(self.grad.shape),
            )  # fmt: skip


def _step(state: State, inputs: Sequence[Any], at: int) -> _Step:
    handles = tuple([x for x in inputs if isinstance(x, Handle)])
    rest = tuple([np.asarray(x) for x in inputs[len(handles) :]])
    return _Step(handles, tuple([state.read(h) for h in handles]), rest, at - len(handles))


def _dense(rule: Rule, xp: Any, state: State, inputs: Sequence[Any], at: int, flags: dict[str, bool]) -> None:
    s = _step(state, inputs, at)
    s.check(s.values[0].shape)
    after = rule(xp, *s.values, *s.rest, **flags)
    for handle, old, new in zip(s.handles, s.values, after, strict=True):
        if new is not old:
            state.adopt(handle, new)


def _rows(state: State, inputs: Sequence[Any], at: int) -> tuple[Array, _Step]:
    """Return which rows a gradient is of, and the other inputs."""
    indices = np.asarray(inputs[at + 1])
    s = _step(state, [*inputs[: at + 1], *inputs[at + 2 :]], at)
    _check_rows(s.handles[0], s.values[0], indices)
    s.check((len(indices), *s.values[0].shape[1:]))
    return indices, s


def _sparse(rule: Rule, xp: Any, state: State, inputs: Sequence[Any], at: int, flags: dict[str, bool]) -> None:
    indices, s = _rows(state, inputs, at)
    handles, rest, grad = s.handles, s.rest, s.grad
    del s  # nothing here holds the values now, so that their rows may be changed in place
    for turn in turns(indices):
        rows = indices[turn]
        before = [state.read(h).take(rows, 0) for h in handles]
        after = rule(xp, *before, *[grad[turn] if x is grad else x for x in rest], **flags)
        for handle, old, new in zip(handles, before, after, strict=True):
            if new is not old:
                state.assign_rows(handle, rows, new, old)


def _sparse_once(rule: Rule, xp: Any, state: State, inputs: Sequence[Any], at: int, flags: dict[str, bool]) -> None:
    """The same where no row is named twice."""
    indices, s = _rows(state, inputs, at)
    handles, rest = s.handles, s.rest
    before = [v.take(indices, 0) for v in s.values]
    del s
    for handle, old, new in zip(handles, before, rule(xp, *before, *rest, **flags), strict=True):
        if new is not old:
            state.assign_rows(handle, indices, new, old)


def _check_rows(handle: Handle, var: Array, indices: Array) -> None:
    if var.ndim == 0:
        raise refuse(f"variable `{handle.name}` has rows", expected="at least a vector", found="a scalar")
    if indices.ndim != 1:
        raise refuse("indices are a vector", found=f"shape {list(indices.shape)}")
    if indices.size and largest(indices) >= len(var):
        bad = (indices < 0) | (indices >= len(var))
        where = int(np.flatnonzero(bad)[0])
        raise refuse(
            f"index {where} of variable `{handle.name}` is out of range", expected=f"0 to {len(var) - 1}",
            found=int(indices[where]),
        )  # fmt: skip


def turns(indices: Array) -> Iterator[Array | slice]:
    """Split places into turns, in each of which no row occurs twice: the first occurrences, the second ones, ..."""
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    fresh = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    if fresh.all():
        yield slice(None)
        return
    starts = np.flatnonzero(fresh)
    counts = np.diff(starts, append=len(ordered))
    turn = np.arange(len(ordered)) - np.repeat(starts, counts)
    for t in range(int(turn.max()) + 1):
        yield order[turn == t]


def _same_shape(xp: Any, a: Any, b: Any) -> bool:
    return a.ndim == b.ndim and all(xp.dim(a, i) == xp.dim(b, i) for i in range(a.ndim))


def _on_values(rule: Rule, at: int) -> Body:
    """Return `rule` as the op's aspect `values`; what does not go together is refused here too."""

    @functools.wraps(rule)
    def run(xp: Any, *inputs: Any, **flags: bool) -> Any:
        after = list(rule(xp, *inputs, **flags))
        for i, x in enumerate(inputs):
            if not (_same_shape(xp, x, inputs[0]) if i < len(after) or i == at else x.ndim == 0):
                raise refuse("a variable, its slots and its gradient have one shape, hyperparameters are scalars")
        return after

    return run


def _body(rule: Rule, step: Callable[..., None], returns: bool) -> Body:
    """Return the body that takes `step` by `rule`; its attributes are the rule's keyword-only parameters."""
    at = _gradient_at(rule)

    @functools.wraps(rule)  # for its documentation and its keyword-only parameters
    def run(xp: Any, state: State, *inputs: Any, **flags: bool) -> Any:
        step(rule, xp, state, inputs, at, flags)
        return inputs[0] if returns else None

    return run


def _gradient_at(rule: Rule) -> int:
    return list(inspect.signature(rule).parameters).index("grad") - 1


def _op(name: str, rule: Rule, step: Callable[..., None], returns: bool) -> Op:
    body = _body(rule, step, returns)
    made = Op(name, body, shape="x -> x", stateful=True, role="update", ignores=("use_locking",))
    if step is _dense:
        made.values(_on_values(rule, _gradient_at(rule)))
    else:
        made.rules["distinct"] = _body(rule, _sparse_once, returns)
    return made


_FORMS: dict[str, tuple[Callable[..., None], bool]] = {
    "Apply": (_dense, True),
    "ResourceApply": (_dense, False),
    "SparseApply": (_sparse, True),
    "ResourceSparseApply": (_sparse, False),
}


def _family(name: str, rule: Rule, forms: str = " ".join(_FORMS)) -> list[Op]:
    return [_op(f"{form}{name}", rule, *_FORMS[form]) for form in forms.split()]


# --- descent and momentum ---------------------------------------------------------------------------------------
def gradient_descent(xp: Any, var: Array, lr: Array, grad: Array) -> tuple[Array, ...]:
    """A step against the gradient."""
    return (var - grad * lr,)


def momentum(
    xp: Any, var: Array, accum: Array, lr: Array, grad: Array, momentum: Array, *, use_nesterov: bool
) -> tuple[Array, ...]:
    """A step along a decaying sum of gradients; with `use_nesterov` as if it were taken one step ahead."""
    accum = accum * momentum + grad
    return var - (grad * lr + accum * momentum * lr if use_nesterov else accum * lr), accum


def keras_momentum(
    xp: Any, var: Array, accum: Array, lr: Array, grad: Array, momentum: Array, *, use_nesterov: bool
) -> tuple[Array, ...]:
    """Momentum whose accumulator holds steps, learning rate included."""
    accum = accum * momentum - grad * lr
    return var + (accum * momentum - grad * lr if use_nesterov else accum), accum


def add_sign(
    xp: Any, var: Array, m: Array, lr: Array, alpha: Array, sign_decay: Array, beta: Array, grad: Array
) -> tuple[Array, ...]:
    """A step that is larger where gradient and momentum agree in sign."""
    m = m * beta + grad * (1 - beta)
    return var - lr * (alpha + sign_decay * (xp.sign(grad) * xp.sign(m))) * grad, m


def power_sign(
    xp: Any, var: Array, m: Array, lr: Array, logbase: Array, sign_decay: Array, beta: Array, grad: Array
) -> tuple[Array, ...]:
    """A step that is a power larger where gradient and momentum agree in sign."""
    m = m * beta + grad * (1 - beta)
    return var - lr * xp.exp(logbase * sign_decay * (xp.sign(grad) * xp.sign(m))) * grad, m


# --- adaptive moments -------------------------------------------------------------------------------------------
def _moments(m: Array, v: Array, beta1: Array, beta2: Array, grad: Array) -> tuple[Array, Array]:
    return m + (grad - m) * (1 - beta1), v + (grad * grad - v) * (1 - beta2)


def adam(
    xp: Any, var: Array, m: Array, v: Array, beta1_power: Array, beta2_power: Array, lr: Array, beta1: Array,
    beta2: Array, epsilon: Array, grad: Array, *, use_nesterov: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """A step along the average gradient over the root of the average square, both free of bias."""
    alpha = lr * xp.sqrt(1 - beta2_power) / (1 - beta1_power)
    m, v = _moments(m, v, beta1, beta2, grad)
    along = grad * (1 - beta1) + beta1 * m if use_nesterov else m
    return var - along * alpha / (xp.sqrt(v) + epsilon), m, v


def adam_with_amsgrad(
    xp: Any, var: Array, m: Array, v: Array, vhat: Array, beta1_power: Array, beta2_power: Array, lr: Array,
    beta1: Array, beta2: Array, epsilon: Array, grad: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """Adam over the largest average square so far."""
    alpha = lr * xp.sqrt(1 - beta2_power) / (1 - beta1_power)
    m, v = _moments(m, v, beta1, beta2, grad)
    vhat = xp.maximum(vhat, v)
    return var - m * alpha / (xp.sqrt(vhat) + epsilon), m, v, vhat


def ada_max(
    xp: Any, var: Array, m: Array, v: Array, beta1_power: Array, lr: Array, beta1: Array, beta2: Array, epsilon: Array,
    grad: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """Adam with a decaying maximum in place of the average square."""
    m = m + (grad - m) * (1 - beta1)
    v = xp.maximum(beta2 * v, xp.abs(grad))
    return var - lr / (1 - beta1_power) * (m / (v + epsilon)), m, v


def rms_prop(
    xp: Any, var: Array, ms: Array, mom: Array, lr: Array, rho: Array, momentum: Array, epsilon: Array, grad: Array
) -> tuple[Array, ...]:
    """Momentum of gradients over the root of their average square."""
    ms = ms + (grad * grad - ms) * (1 - rho)
    mom = mom * momentum + grad * lr / xp.sqrt(ms + epsilon)
    return var - mom, ms, mom


def centered_rms_prop(
    xp: Any,
    var: Array,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Array,
    rho: Array,
    momentum: Array,
    epsilon: Array,
    grad: Array,
) -> tuple[Array, ...]:
    """Momentum of gradients over the root of their variance."""
    ms = ms + (grad * grad - ms) * (1 - rho)
    mg = mg + (grad - mg) * (1 - rho)
    mom = mom * momentum + grad * lr / xp.sqrt(ms - mg * mg + epsilon)
    return var - mom, mg, ms, mom


# --- accumulated squares ----------------------------------------------------------------------------------------
def adagrad(xp: Any, var: Array, accum: Array, lr: Array, grad: Array, *, update_slots: bool) -> tuple[Array, ...]:
    """A step over the root of the sum of squared gradients."""
    if update_slots:
        accum = accum + grad * grad
    return var - grad * lr / xp.sqrt(accum), accum


def adagrad_v2(
    xp: Any, var: Array, accum: Array, lr: Array, epsilon: Array, grad: Array, *, update_slots: bool
) -> tuple[Array, ...]:
    """Adagrad that stays away from a division by zero."""
    if update_slots:
        accum = accum + grad * grad
    return var - grad * lr / (xp.sqrt(accum) + epsilon), accum


def adadelta(
    xp: Any, var: Array, accum: Array, accum_update: Array, lr: Array, rho: Array, epsilon: Array, grad: Array
) -> tuple[Array, ...]:
    """A step whose size follows the average square of earlier steps."""
    accum = accum * rho + grad * grad * (1 - rho)
    update = xp.sqrt(accum_update + epsilon) / xp.sqrt(accum + epsilon) * grad
    return var - update * lr, accum, accum_update * rho + update * update * (1 - rho)


def _shrunk(xp: Any, x: Array, by: Array) -> Array:
    """`x` nearer to zero by `by`, not beyond it."""
    return xp.sign(x) * xp.maximum(xp.abs(x) - by, 0)  # type: ignore[no-any-return]


def proximal_gradient_descent(xp: Any, var: Array, lr: Array, l1: Array, l2: Array, grad: Array) -> tuple[Array, ...]:
    """A step against the gradient, then one towards zero for both penalties."""
    near = var - grad * lr
    return ((_shrunk(xp, near, lr * l1) if l1 > 0 else near) / (1 + l2 * lr),)


def proximal_adagrad(
    xp: Any, var: Array, accum: Array, lr: Array, l1: Array, l2: Array, grad: Array
) -> tuple[Array, ...]:
    """An Adagrad step, then one towards zero for both penalties."""
    accum = accum + grad * grad
    rate = lr / xp.sqrt(accum)
    near = var - grad * rate
    return (_shrunk(xp, near, rate * l1) if l1 > 0 else near) / (1 + l2 * rate), accum


def adagrad_da(
    xp: Any, var: Array, gradient_accumulator: Array, gradient_squared_accumulator: Array, grad: Array, lr: Array,
    l1: Array, l2: Array, global_step: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """Dual averaging: the variable anew from the sums of all gradients and of their squares."""
    total, squares = gradient_accumulator + grad, gradient_squared_accumulator + grad * grad
    steps = xp.cast(global_step, from_numpy(xp.dtype(var)))
    pull = _shrunk(xp, total, steps * l1) if l1 > 0 else total
    return -lr * pull / (l2 * steps * lr + xp.sqrt(squares)), total, squares


# --- follow the regularized leader ------------------------------------------------------------------------------
def ftrl(
    xp: Any, var: Array, accum: Array, linear: Array, grad: Array, lr: Array, l1: Array, l2: Array, lr_power: Array,
    *, multiply_linear_by_lr: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The variable anew from the sum of squares and a linear term, zero where `l1` outweighs that."""
    return _leader(xp, var, accum, linear, grad, grad, (lr, l1, l2, lr_power), multiply_linear_by_lr)


def ftrl_v2(
    xp: Any, var: Array, accum: Array, linear: Array, grad: Array, lr: Array, l1: Array, l2: Array, l2_shrinkage: Array,
    lr_power: Array, *, multiply_linear_by_lr: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Ftrl whose linear term also takes the gradient of a penalty on the variable."""
    shrunk = grad + 2 * l2_shrinkage * var
    return _leader(xp, var, accum, linear, grad, shrunk, (lr, l1, l2, lr_power), multiply_linear_by_lr)


def _leader(
    xp: Any, var: Array, accum: Array, linear: Array, grad: Array, into_linear: Array,
    rates: tuple[Array, Array, Array, Array], by_lr: bool,
) -> tuple[Array, ...]:  # fmt: skip
    lr, l1, l2, lr_power = rates
    after = accum + grad * grad
    was, now = (
        (xp.sqrt(accum), xp.sqrt(after))
        if lr_power == -0.5
        else (xp.power(accum, -lr_power), xp.power(after, -lr_power))
    )
    if by_lr:
        linear = linear + into_linear * lr - (now - was) * var
        least, curve = l1 * lr, now + 2 * l2 * lr
    else:
        linear = linear + into_linear - (now - was) / lr * var
        least, curve = l1, now / lr + 2 * l2
    pulled = (least * xp.sign(linear) - linear) / curve
    return xp.where(xp.abs(linear) > least, pulled, xp.zeros_like(pulled)), after, linear


_DENSE = "Apply ResourceApply"
TRAINING = [
    *_family("GradientDescent", gradient_descent, _DENSE),
    *_family("Momentum", momentum),
    *_family("KerasMomentum", keras_momentum, "ResourceApply ResourceSparseApply"),
    *_family("AddSign", add_sign, _DENSE),
    *_family("PowerSign", power_sign, _DENSE),
    *_family("Adam", adam, _DENSE),
    *_family("AdamWithAmsgrad", adam_with_amsgrad, "ResourceApply"),
    *_family("AdaMax", ada_max, _DENSE),
    *_family("RMSProp", rms_prop),
    *_family("CenteredRMSProp", centered_rms_prop),
    *_family("Adagrad", adagrad),
    *_family("AdagradV2", adagrad_v2),
    *_family("Adadelta", adadelta),
    *_family("ProximalGradientDescent", proximal_gradient_descent),
    *_family("ProximalAdagrad", proximal_adagrad),
    *_family("AdagradDA", adagrad_da),
    *_family("Ftrl", ftrl),
    *_family("FtrlV2", ftrl_v2),
]
