"""Branches, loops and calls on XLA: functions of the graph, traced into ``lax.cond`` and ``lax.while_loop``.

A loop's variables must keep their shapes. Those that the body hands on as they are stay outside of the loop, so that
shapes among them stay known inside. Tensor lists settle by trying: the body is traced with what flows in until what
comes out has the same form; the list then has a buffer for as many elements as the loop can add.

Promises made inside come out as one more variable: a loop ends when one is broken.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from coldframe.primitives.base import Unlowerable
from coldframe.primitives.jax_base import Functions, JaxBase, JaxList, large, traced
from coldframe.primitives.jax_lists import whole, written_out

_ROUNDS: Final = 6  # of tracing a loop body until its lists keep their form

Values = list[Any]
Traced = Callable[[Any], Any]


class FlowJax(JaxBase):
    """Control flow; no other interpreter has these verbs."""

    def call(self, function: Any, args: Sequence[Any]) -> Values:
        """The results of a function of the graph."""
        return self._known().call(function, args)

    def _known(self) -> Functions:
        if self.functions is None:
            raise Unlowerable("functions are traced by an engine only")
        return self.functions

    def branch(self, index: Any, functions: Sequence[Any], args: Sequence[Any]) -> Values:
        """The results of the function numbered `index`; out of range, of the last one."""
        if not traced(index):
            k = int(index)
            return self.call(functions[k if 0 <= k < len(functions) else -1], args)
        last, index = len(functions) - 1, index.astype(np.int32)
        at = jnp.where((index < 0) | (index > last), last, index)
        scopes = [self._scoped(functools.partial(self._applied, f, args)) for f in functions]
        forms = [jax.eval_shape(s, 0) for s in scopes]
        if any(jax.tree.structure(f) != jax.tree.structure(forms[0]) for f in forms):
            scopes = [_open(s) for s in scopes]
        ok, out = lax.switch(at, scopes, 0)
        self.promise(ok)
        return list(out)

    def _applied(self, function: Any, args: Sequence[Any], _: Any) -> Values:
        return self.call(function, args)

    def holds(self, condition: Any) -> Any:
        """Whether a scalar is not zero, or any other tensor has elements."""
        if condition.ndim:
            return np.bool_(condition.size > 0)
        if not traced(condition):
            return np.bool_(condition.item() != 0)
        return condition != np.zeros((), condition.dtype)

    def loop(self, condition: Any, body: Any, values: Sequence[Any]) -> Values:
        """`body` applied to `values` as long as `condition` holds; both are functions of the graph."""
        functions = self._known()
        moving = [i for i, stays in enumerate(functions.invariant(body)) if not stays]
        trips = functions.trips(condition, body, values)  # at most

        def full(carry: Sequence[Any]) -> Values:
            out = list(values)
            for i, v in zip(moving, carry, strict=True):
                out[i] = v
            return out

        def step(carry: Sequence[Any]) -> Values:
            made = self.call(body, full(carry))
            if len(made) != len(values):
                raise Unlowerable("the loop body changes the number of variables")
            return [made[i] for i in moving]

        def going(carry: Sequence[Any]) -> Any:
            return self.holds(self.call(condition, full(carry))[0])

        start = self._settled(self._scoped(step), [_array(values[i]) for i in moving], trips)
        form = jax.tree.structure(start)
        tested, stepped = self._scoped(lambda c: [going(c)]), self._scoped(step)

        def again(state: tuple[Any, Any]) -> Any:
            ok, (go,) = tested(state[1])
            return state[0] & ok & go

        def once(state: tuple[Any, Any]) -> Any:
            ok, out = stepped(state[1])
            fitted = [_fitted(o, c) for o, c in zip(out, state[1], strict=True)]
            if jax.tree.structure(fitted) != form:
                raise Unlowerable("a loop variable changes its form")
            return state[0] & ok, fitted

        ok, out = lax.while_loop(again, once, (jnp.asarray(True), start))
        ok = ok & tested(out)[0]  # what the last test promised
        self.promise(ok)
        return full(out)

    def _settled(self, step: Traced, carry: Values, trips: int | None) -> Values:
        for _ in range(_ROUNDS):
            _, made = jax.eval_shape(step, carry)
            new = [_joined(c, m, trips) for c, m in zip(carry, made, strict=True)]
            if jax.tree.structure(new) == jax.tree.structure(carry) and all(
                a is b for a, b in zip(carry, new, strict=True)
            ):
                return new
            carry = new
        raise Unlowerable("the lists of a loop do not settle")

    def _scoped(self, fn: Callable[[Any], Sequence[Any]]) -> Traced:
        """Return `fn` as JAX traces it: what it promises comes out as its first result."""

        def run(arg: Any) -> tuple[Any, Values]:
            outer, self.promises = self.promises, []
            try:
                out = [_array(v) for v in fn(arg)]
                ok = jnp.asarray(True)
                for p in self.promises:
                    ok = ok & p
            finally:
                self.promises = outer
            return ok, out

        return run


def _array(v: Any) -> Any:
    return whole(v) if isinstance(v, JaxList) else jnp.asarray(large(v))


def _open(scope: Traced) -> Traced:
    """Return a branch whose lists have lengths that are values."""

    def run(arg: Any) -> Any:
        ok, out = scope(arg)
        return ok, [_opened(v) if isinstance(v, JaxList) else v for v in out]

    return run


def _opened(x: JaxList) -> JaxList:
    return x if traced(x.length) else dataclasses.replace(x, length=jnp.asarray(x.length, jnp.int32))


def _joined(old: Any, new: Any, trips: int | None) -> Any:
    """Return the loop variable `old` in a form that holds what the body made of it, too."""
    if not isinstance(old, JaxList):
        if isinstance(new, JaxList) or (old.shape, old.dtype) != (new.shape, new.dtype):
            raise Unlowerable(f"a loop variable changes from {_shown(old)} to {_shown(new)}")
        return old
    if not isinstance(new, JaxList) or new.dtype != old.dtype:
        raise Unlowerable("a loop variable changes from a list to something else")
    if new.buffer is None:
        return _joined_known(old, new, trips)
    if old.every is not None:
        old = written_out(old, new.capacity)
    room = old.most
    known = isinstance(new.length, int) and isinstance(old.length, int)
    if new.most is None and known and new.length > old.length:
        if trips is None:
            raise Unlowerable("how long a list gets in a loop is not known when compiling")
        room = old.length + trips * (new.length - old.length)
    if old.buffer is None or new.capacity > old.capacity:
        rows = jnp.zeros((max(room or 0, new.capacity), *new.buffer.shape[1:]), old.dtype.numpy)
        if old.capacity:
            rows = lax.dynamic_update_slice(rows, old.buffer, (0,) * rows.ndim)
        old = dataclasses.replace(old, buffer=rows, shape=new.shape, most=room)
    if old.buffer.shape[1:] != new.buffer.shape[1:]:
        raise Unlowerable("the elements of a list change their shape in a loop")
    same = isinstance(new.length, int) and isinstance(old.length, int) and new.length == old.length
    return old if same or traced(old.length) else _opened(old)


def _joined_known(old: JaxList, new: JaxList, trips: int | None) -> JaxList:
    """`_joined` for a list that has no buffer: it is empty, or each element is the same known tensor."""
    same = isinstance(new.length, int) and isinstance(old.length, int) and new.length == old.length
    if old.buffer is None and (old.every == new.every or (isinstance(old.length, int) and old.length == 0)):
        changed = old if old.every == new.every else dataclasses.replace(old, every=new.every, shape=new.shape)
        return changed if same or traced(old.length) else _opened(changed)
    if old.buffer is None and new.every is not None and old.every is not None:
        if old.most is None and trips is None:
            raise Unlowerable("how long a list gets in a loop is not known when compiling")
        if old.most is None and not isinstance(old.length, int):
            raise Unlowerable("how long a list gets in a loop is not known when compiling")
        room = old.most if old.most is not None else int(old.length) + (trips or 0)
        return _opened(dataclasses.replace(written_out(old, room), most=room))
    return old if same or traced(old.length) else _opened(old)


def _fitted(new: Any, old: Any) -> Any:
    """Return what the body made in the very form of the loop variable."""
    if not isinstance(old, JaxList) or not isinstance(new, JaxList):
        return new
    if old.buffer is not None:
        new = written_out(new, old.capacity)
    if (new.buffer is None) != (old.buffer is None) or new.every != old.every or new.capacity != old.capacity:
        raise Unlowerable("a list changes its form in a loop")
    length = jnp.asarray(new.length, jnp.int32) if traced(old.length) else new.length
    return dataclasses.replace(new, shape=old.shape, most=old.most, length=length)


def _shown(x: Any) -> str:
    return "a list" if isinstance(x, JaxList) else f"{x.dtype}{list(x.shape)}"
