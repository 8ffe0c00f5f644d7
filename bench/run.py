"""``make bench``: whole processes of the command line against the same done with TensorFlow, in pairs.

Prints medians and ratios, asserts nothing: a machine under load is no reason for a test to fail.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

from paired import Task, measure

_SESSION = """
import numpy as np, tensorflow as tf
v1 = tf.compat.v1
"""
TASKS = (
    Task(
        "run a frozen MobileNet on one image",
        ["run", "mobilenet.pb", "--input", "input=image.npy", "--fetch", "probabilities:0", "-o", "ours.npz"],
        _SESSION
        + """
graph_def = v1.GraphDef.FromString(open("mobilenet.pb", "rb").read())
with v1.Graph().as_default():
    v1.import_graph_def(graph_def, name="")
    with v1.Session() as session:
        out = session.run("probabilities:0", {"input:0": np.load("image.npy")})
np.savez("theirs.npz", **{"probabilities:0": out})
""",
        "promised: at least 8x",
    ),
    Task(
        "inspect a checkpoint of 12 million values",
        ["inspect", "mobilenet.ckpt", "--all"],
        _SESSION
        + """
reader = tf.train.load_checkpoint("mobilenet.ckpt")
types = reader.get_variable_to_dtype_map()
for name, shape in sorted(reader.get_variable_to_shape_map().items()):
    print(name, types[name].name, shape)
""",
        "promised: below 0.4 s",
    ),
    Task(
        "freeze it",
        ["freeze", "mobilenet.ckpt.meta", "--outputs", "probabilities", "-o", "ours.pb"],
        _SESSION
        + """
with v1.Graph().as_default() as graph:
    saver = v1.train.import_meta_graph("mobilenet.ckpt.meta")
    with v1.Session() as session:
        saver.restore(session, "mobilenet.ckpt")
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probabilities"])
open("theirs.pb", "wb").write(frozen.SerializeToString())
""",
    ),
)


def main() -> None:
    """Build the files, and time each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs per task")
    pairs = parser.parse_args().pairs
    from models import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        print(f"{'median of ' + str(pairs) + ' pairs':<40} {'coldframe':>9}  {'TensorFlow':>9}  ratio")
        for task in TASKS:
            print(measure(task, pairs, folder), flush=True)
        print(f"largest difference of a probability: {_difference(folder):.1e}")


def _difference(folder: Path) -> float:
    import numpy as np

    with np.load(folder / "ours.npz") as a, np.load(folder / "theirs.npz") as b:
        return float(np.abs(a["probabilities:0"] - b["probabilities:0"]).max())


if __name__ == "__main__":
    main()
