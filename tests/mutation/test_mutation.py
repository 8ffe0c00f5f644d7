"""Damaged files and odd graphs: an error of coldframe's own or the right answer, in bounded time and memory.

`make test` tries a sample, the slow tests all truncations and 10,000 changes per file. What fails here is replayed by
``python tools/mutate.py NAME --only MUTATION``.
"""

from __future__ import annotations

import sys

import pytest

from fixtures_data import fixtures
from mutation import mutations, odd_ops
from mutation.sweep import Job, sweep
from mutation.targets import Target, targets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the worker bounds itself by Unix signals")

TARGETS = targets()
FOLDERS = sorted({t.name.partition("/")[0] for t in TARGETS})
WIRED = [f.name for f in fixtures() if f.kind != "checkpoint" or f.meta]
PARTS = 4  # of the list of ops, so that workers share it
CHANGES = 10_000


def stands(jobs: list[Job]) -> None:
    failures, _ = sweep(jobs)
    assert not failures, "\n\n".join(str(f) for f in failures[:5])


def cases(first: int, count: int) -> list[str]:
    return [f"case:{i}" for i in range(first, first + count)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_sample_of_damage(folder: str) -> None:
    stands(
        [
            (t.name, mutations.sample(t.file.stat().st_size, _sample(t)))
            for t in TARGETS
            if t.name.startswith(folder + "/")
        ]
    )


def _sample(target: Target) -> int:
    return 100 if target.size < 1 << 18 else 30


@pytest.mark.parametrize("part", range(PARTS))
def test_ops_with_odd_inputs(part: int) -> None:
    stands([(f"op/{name}", cases(0, 5)) for name in odd_ops.names()[part::PARTS]])


def test_graphs_wired_wrongly() -> None:
    stands([(f"wiring/{name}", cases(0, 40)) for name in WIRED])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_all_damage(target: Target) -> None:
    size = target.file.stat().st_size
    stands([(target.name, [*mutations.cuts(size), *mutations.changes(CHANGES)])])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_ops_with_many_odd_inputs(part: int) -> None:
    stands([(f"op/{name}", cases(5, 300)) for name in odd_ops.names()[part::PARTS]])


@pytest.mark.slow
@pytest.mark.parametrize("name", WIRED)
def test_many_graphs_wired_wrongly(name: str) -> None:
    stands([(f"wiring/{name}", cases(40, 5000))])


# --- the harness itself -----------------------------------------------------------------------------------------
def test_mutations_are_the_same_each_time() -> None:
    data = bytes(range(256)) * 4
    names = mutations.sample(len(data), 50)
    assert len(set(names)) == len(names)
    made = [mutations.mutated(data, n) for n in names]
    assert made == [mutations.mutated(data, n) for n in names]
    assert mutations.mutated(data, "cut:17") == data[:17]
    assert sum(m != data for m in made) > 45
    assert mutations.cuts(3) == ["cut:0", "cut:1", "cut:2"]
    large = mutations.cuts(1 << 20)
    assert len(set(large)) == 3 << 12
    assert {"cut:0", f"cut:{(1 << 20) - 1}"} <= set(large)


def test_a_worker_that_dies_hangs_or_lies_is_found() -> None:
    said = {f.mutation: f.what for f in sweep([("trap/", ["case:0", "case:1", "case:2", "case:3", "case:4"])])[0]}
    assert "ended with -11" in said["case:1"]
    assert "ended with -27" in said["case:2"]
    assert "ZeroDivisionError" in said["case:3"]
    assert "MiB of memory" in said["case:4"]
    assert "case:0" not in said
