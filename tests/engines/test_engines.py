"""Every engine, held to the same conformance tests."""

import pytest

import coldframe.tf1 as cf
from engines_conformance import EngineConformance


class TestReference(EngineConformance):
    engine = "reference"


class TestOnnxRuntime(EngineConformance):
    engine = "onnxruntime"


class TestAuto(EngineConformance):
    engine = "auto"


@pytest.mark.parametrize("engine", ["onnxruntime", "xla"])
def test_sizes_that_were_compiled_in_are_checked_at_each_run(engine: str) -> None:
    """How many rows a step updates is in the data; an island that reads only that number is made for one number."""
    with cf.Graph().as_default():
        x = cf.placeholder(cf.int32, [6])
        w, b = cf.Variable(cf.ones([9, 2])), cf.Variable(cf.zeros([9]))
        rows = cf.nn.embedding_lookup(cf.Variable(cf.ones([9, 2])), x)
        loss = cf.reduce_mean(cf.nn.nce_loss(w, b, cf.expand_dims(x, 1), rows, 3, 9))
        step = cf.train.AdamOptimizer().minimize(loss)
        with cf.Session(engine=engine) as session:
            session.run(cf.global_variables_initializer())
            for ids in ([0, 1, 1, 0, 1, 0], [1, 2, 3, 4, 5, 6], [7] * 6):
                session.run(step, {x: ids})
