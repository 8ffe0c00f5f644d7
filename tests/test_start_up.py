"""What starting up loads. Each module kept out here costs every command line and every import its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
ENGINES = {"onnxruntime", "openvino", "onnx", "jax", "tensorflow"}
SLOW = ENGINES | {"typer", "rich", "unittest", "asyncio", "scipy"}


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stderr.split())


def command(*args: str) -> str:
    return f"from coldframe.cli.main import main; assert main({list(args)!r}) == 0"


def test_import_loads_nothing_but_the_front_door() -> None:
    mine = {m for m in loaded("import coldframe") if m.startswith("coldframe")}
    assert mine == {"coldframe"}
    assert "numpy" not in loaded("import coldframe")


def test_inspecting_a_checkpoint_loads_neither_engines_nor_ops() -> None:
    modules = loaded(command("inspect", str(DIGITS / "model.ckpt-460")))
    assert "coldframe.checkpoint.reader" in modules
    assert not modules & SLOW
    rooms = {m.split(".")[1] for m in modules if m.startswith("coldframe.")}
    assert not rooms & {"engines", "primitives", "ops", "graph", "passes"}


@pytest.mark.parametrize("words", [["inspect"], ["names"], ["ops"]], ids=" ".join)
def test_looking_at_a_graph_loads_no_engine(words: list[str]) -> None:
    modules = loaded(command(*words, str(DIGITS / "model.ckpt-460.meta")))
    assert "coldframe.graph.convert" in modules
    assert not modules & SLOW


def test_the_check_can_fail() -> None:
    assert "onnxruntime" in loaded("import onnxruntime")


def test_building_a_tf1_graph_loads_no_engine() -> None:
    program = (
        "import coldframe.tf1 as tf; x = tf.placeholder(tf.float32, [None, 2]);"
        "tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.matmul(x, tf.Variable(tf.zeros([2, 2])))))"
    )
    assert not loaded(program) & (SLOW | {"absl"})


def test_running_a_plain_graph_loads_what_it_needs(tmp_path: Path) -> None:
    """Control flow, random numbers, SavedModels and other engines are for the graphs that have them."""
    path = tmp_path / "graph.pb"
    writing = (
        "import coldframe.tf1 as tf; x = tf.placeholder(tf.float32, [None, 3], 'x');"
        "tf.nn.softmax(x @ tf.ones([3, 4]), name='y');"
        f"tf.io.write_graph(tf.get_default_graph().as_graph_def(), {str(tmp_path)!r}, 'graph.pb', as_text=False)"
    )
    subprocess.run([sys.executable, "-c", writing], check=True, timeout=120)
    running = (
        f"import coldframe as cf; import numpy as np; model = cf.load({str(path)!r}, engine='onnxruntime');"
        "model.run({'x:0': np.ones((2, 3), np.float32)}, ['y:0'])"
    )
    modules = loaded(running)
    assert {"coldframe.engines.onnxruntime", "onnxruntime"} <= modules
    unused = {
        "passes.raise_control_flow", "passes.flow_contexts", "passes.arrays_to_lists", "runtime.frames", "runtime.ends",
        "ops.recurrences", "ops.random", "ops.tensor_list", "engines.xla", "primitives.onnx_scales",
        "formats.saved_model", "formats.meta_graph", "formats.crc32c", "primitives.onnx_lookups",
    }  # fmt: skip
    assert not modules & {f"coldframe.{m}" for m in unused}
