"""The op table: one `Op` per TensorFlow op, everything about it in one place.

An op is a value: its TensorFlow name, and a body written over primitives ``xp``. Given another ``xp`` the same body is
another aspect of the op: numpy runs it, the ONNX interpreter emits nodes for ONNX Runtime. Rules (``@softmax.onnx``,
``@softmax.gradient``) give an aspect directly where that is better.

A body takes ``xp``, the op's inputs in TensorFlow's order (a list input is one argument, a list), and the attributes
it understands as keyword-only parameters without defaults, under TensorFlow's names. Strings arrive as ``str``, dtypes
as `DType`, shapes as `Shape`, functions as callables. An attribute that no parameter takes must have its default
value, or the call is refused: nothing is silently ignored.

`shape` tells what is known of the outputs before a run: a function (`coldframe.ops.known` has its contract, the
``inference_*`` modules the families), or, where that says it, a line such as ``"[n, c] [n] -> [n]"``
(`coldframe.ops.notation`). An op without it has outputs of open shapes.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from coldframe.errors import MisuseError, UnsupportedOpError, near_names
from coldframe.records import dataclass

Body = Callable[..., Any]


class OpTableError(MisuseError):
    """A definition in the op table is malformed or duplicated."""


@dataclass(eq=False, slots=True)
class Op:
    """One TensorFlow op.

    Attributes:
        name: TensorFlow's name.
        body: ``body(xp, *inputs, **attrs)``; stateful ops take ``body(xp, state, *inputs, **attrs)``.
        rules: other aspects by name: ``onnx``, ``jax``, ``values``, ``drawn``, ``distinct`` and ``padded`` (see
            `coldframe.runtime.rows`), ``gradient``.
        shape: the shape rule, see above.
        host: why the body runs on numpy only (strings, data-dependent shapes, ...); empty when it can be compiled.
        lenient: what TensorFlow and numpy refuse and a compiled island answers, since only the run would tell; empty
            where nothing is.
        static: names of inputs whose values must be known when an island is compiled.
        ignores: attributes that do not change the result (tuning hints).
        stateful: the body reads or writes the session's state (variables, tables).
        random: the result differs from run to run; never folded.
        effect: it acts beyond its outputs (prints, asserts, writes): it runs whenever it is asked for, never folded.
        elementwise: an element of the result depends on those at its place in the inputs alone, which broadcast.
        heavy: dense work that a compiler does far better than numpy; decides what `auto` compiles.
        windows: of heavy ones: it slides windows over its input (convolutions, pools).
        control: what it is to V1 control flow (``switch``, ``merge``, ``enter``, ``exit``, ``next``, ``loopcond``,
            ``trigger``: it runs even where what it waits for is on a branch that was not taken).
        const: its output is its attribute ``value``.
        placeholder: must be fed.
        variable: ``ref`` or ``resource`` where it makes a variable.
        role: what else a pass may need to know: ``identity``, ``read``, ``assign``, ``noop``, ``call``,
            ``waits`` (for other threads), ``draw`` (from a generator that a variable keeps), ``refill`` (all of a
            table; ``refill_trees``, ``refill_streams``: of boosted trees), ``python`` (calls a function of the program,
            by its token), ...
        value_op: of an op on a variable: the op that, with a value in its place, computes what this one reads
            or writes.
        no_gradient: nothing flows back through it, by intent: `tf.gradients` stops here without a word. An op with
            neither this nor a ``gradient`` rule is one whose gradient is missing, which is an error where it matters.
    """

    name: str
    body: Body
    rules: dict[str, Body] = dataclasses.field(default_factory=dict)
    shape: Body | str | None = None
    host: str = ""
    lenient: str = ""
    static: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    stateful: bool = False
    random: bool = False
    effect: bool = False
    elementwise: bool = False
    heavy: bool = False
    windows: bool = False
    control: str = ""
    const: bool = False
    placeholder: bool = False
    variable: str = ""
    role: str = ""
    value_op: str = ""
    no_gradient: bool = False

    def rule(self, *aspects: str) -> Callable[[Body], Body]:
        """Attach another aspect of this op, or several, next to its definition."""

        def attach(fn: Body) -> Body:
            for aspect in aspects:
                if aspect in self.rules:
                    raise OpTableError(f"{self.name} already has a rule for `{aspect}`")
                self.rules[aspect] = fn
            return fn

        return attach

    @property
    def onnx(self) -> Callable[[Body], Body]:
        """Decorate a body that emits ONNX more directly than tracing the main body would."""
        return self.rule("onnx")

    @property
    def values(self) -> Callable[[Body], Body]:
        """Decorate what an op on variables computes when their values stand in the places of the handles.

        ``values(xp, *inputs, **attrs)`` has no state and so can be compiled. An op that reads returns what it hands
        out. One that writes returns the new value of each variable, in the order of the handles; one of the role
        ``assign``, which does not read what it overwrites, takes only the other inputs.
        """
        return self.rule("values")

    @property
    def gradient(self) -> Callable[[Body], Body]:
        """Decorate a rule that builds TensorFlow's gradient nodes.

        ``rule(g, op, *dys)`` takes the builder of nodes, the operation and the gradient of each output, and returns
        the gradient of each input (a bare one where there is one input), None where nothing flows back.
        The words that rules share are in `coldframe.ops.backward`.
        """
        return self.rule("gradient")

    @property
    def pure(self) -> bool:
        """Whether equal inputs always give equal outputs and nothing else happens: such a node may be folded."""
        return not (self.stateful or self.random or self.effect or self.placeholder or self.control)

    @property
    def attrs(self) -> tuple[str, ...]:
        """The attributes its body understands."""
        return tuple(p.name for p in inspect.signature(self.body).parameters.values() if p.kind is p.KEYWORD_ONLY)

    @property
    def summary(self) -> str:
        """The first line of the body's docstring."""
        return (inspect.getdoc(self.body) or "").split("\n")[0]

    @property
    def defined_in(self) -> str:
        """``module:line`` of the body."""
        code = getattr(self.body, "__code__", None)
        return f"{self.body.__module__}:{code.co_firstlineno}" if code else self.body.__module__


def op(name: str, *, gradient: Body | None = None, **fields: Any) -> Callable[[Body], Op]:
    """Define an op by decorating its body; `fields` are those of `Op`. `gradient` is a rule that ops share."""

    def define(body: Body) -> Op:
        return Op(name, body, rules=rules(gradient=gradient), **fields)

    return define


def rules(**aspects: Body | None) -> dict[str, Body]:
    """Return those of the rules that are given."""
    return {aspect: rule for aspect, rule in aspects.items() if rule is not None}


def alias(name: str, of: Op, **fields: Any) -> Op:
    """Return an op called `name` that does what `of` does (TensorFlow keeps old names of an op).

    Its gradient is that of `of` too, unless one of `gradient` (a rule) and `no_gradient` says otherwise.
    """
    aspects = of.rules | rules(gradient=fields.pop("gradient", None))
    if fields.get("no_gradient"):
        aspects.pop("gradient", None)
    return dataclasses.replace(of, name=name, rules=aspects, **fields)


class OpTable(Mapping[str, Op]):
    """An immutable mapping from op names to ops, built from explicit modules.

    Those of `of_families` are loaded when an op of theirs is asked for, by whichever thread.
    """

    def __init__(self, ops: Iterable[Op]) -> None:
        self._ops: dict[str, Op] = {}
        for o in ops:
            if o.name in self._ops:
                raise OpTableError(
                    f"{o.name} is defined twice", where=f"in {self._ops[o.name].defined_in} and {o.defined_in}"
                )
            self._ops[o.name] = o
        self._family = dict.fromkeys(self._ops, "")
        self.roles: dict[str, str] = {}
        for o in self._ops.values():
            for role in _roles_of(o):
                self.roles.setdefault(role, o.name)
        self._load: Callable[[str], ModuleType] | None = None

    @classmethod
    def of(cls, *modules: ModuleType) -> OpTable:
        """Collect the ops that `modules` hold: module values that are an `Op`, and lists of them (family tables)."""
        return cls(o for m in modules for o in _ops_of(m))

    @classmethod
    def of_families(
        cls, families: Mapping[str, Iterable[str]], roles: Mapping[str, str], load: Callable[[str], ModuleType]
    ) -> OpTable:
        """Return the table of the ops of modules that are not loaded yet.

        Args:
            families: the names of the ops by family, in order.
            roles: the op of each role, see `named_role`.
            load: returns the module of a family.
        """
        made = cls(())
        made._family = {name: family for family, names in families.items() for name in names}
        made.roles, made._load = dict(roles), load
        return made

    def __getitem__(self, name: str) -> Op:
        found = self._ops.get(name)
        if found is not None:
            return found
        if name not in self._family or self._load is None:
            raise UnsupportedOpError(
                f"op `{name}` is not in the op table of {len(self)} ops", hint=near_names(name, self._family)
            )
        self._ops.update((o.name, o) for o in _ops_of(self._load(self._family[name])))
        return self._ops[name]

    def named_role(self, role: str) -> Op:
        """Return the plainest op, the one defined first, of a role or V1 control-flow kind, ``const``, ``placeholder``.

        Passes make nodes of it without knowing op names.
        """
        if role not in self.roles:
            raise OpTableError(f"no op has the role `{role}`")
        return self[self.roles[role]]

    def kin(self, role: str) -> frozenset[str]:
        """Return the names of the ops that are defined beside those of a role; no module is loaded for it."""
        family = self._family[self.roles[role]]
        return frozenset(n for n, f in self._family.items() if f == family)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the op called `name`, or `default`."""
        found = self._ops.get(name)
        if found is not None:
            return found
        return self[name] if name in self._family else default

    def __contains__(self, name: object) -> bool:
        return name in self._family

    def __iter__(self) -> Iterator[str]:
        return iter(self._family)

    def __len__(self) -> int:
        return len(self._family)


def _roles_of(o: Op) -> Iterator[str]:
    yield from (role for role in (o.role, o.control) if role)
    if o.const:
        yield "const"
    if o.placeholder:
        yield "placeholder"


def _ops_of(module: ModuleType) -> Iterator[Op]:
    for value in vars(module).values():
        if isinstance(value, Op):
            yield value
        elif isinstance(value, list) and value and all(isinstance(v, Op) for v in value):
            yield from value
