"""One side of `inference.py`: a process that loads a graph with one runtime and runs it when told.

``python inference_peers.py PEER MODEL.pb FEEDS.npz OUTPUT ... -- FOLDER``. It runs the feeds once, says so on standard
output, and then reads commands, a line each: ``run N`` answers the milliseconds of N runs; ``feeds FILE`` changes the
feeds and runs once; ``save FILE`` writes the results; ``memory`` answers the peak of the resident memory in MiB.

It imports nothing that its runtime does not need: the time from its start to the first answer is measured.
"""

import contextlib
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np


def coldframe(model, feeds, outputs, folder, engine="auto"):
    import coldframe as cf

    loaded = cf.load(model, engine=engine)
    return lambda feeds: list(loaded.run(feeds, outputs).values())


def tensorflow(model, feeds, outputs, folder):
    import tensorflow as tf

    v1 = tf.compat.v1
    with open(model, "rb") as f:
        graph_def = v1.GraphDef.FromString(f.read())
    graph = v1.Graph()
    with graph.as_default():
        v1.import_graph_def(graph_def, name="")
    session = v1.Session(graph=graph)
    return lambda feeds: session.run(outputs, feeds)


def openvino(model, feeds, outputs, folder):
    import openvino as ov

    core = ov.Core()
    read = core.read_model(model)
    made = {}

    def run(feeds):
        key = tuple(v.shape for v in feeds.values())
        if key not in made:  # compiled for the shapes: what it is fastest at
            by_name = {n: p for p in read.inputs for n in p.names}
            with contextlib.suppress(Exception):  # a graph that takes no other shape, or names no input so
                read.reshape({by_name[n]: list(v.shape) for n, v in feeds.items()})
            # Left to itself it computes in bfloat16 where the CPU can, which is another computation.
            config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            compiled = core.compile_model(read, "CPU", config)
            made[key] = compiled, compiled.create_infer_request(), [compiled.output(o) for o in outputs]
        _, request, wanted = made[key]
        request.infer(feeds, share_inputs=True)
        return [request.get_tensor(o).data for o in wanted]

    return run


def tf2onnx(model, feeds, outputs, folder):
    import onnxruntime

    path = os.path.join(folder, os.path.basename(model) + ".onnx")
    if not os.path.exists(path):
        import tf2onnx.convert
        from tensorflow.core.framework.graph_pb2 import GraphDef

        with open(model, "rb") as f:
            graph_def = GraphDef.FromString(f.read())
        tf2onnx.convert.from_graph_def(
            graph_def, input_names=list(feeds), output_names=outputs, opset=18, output_path=path
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(outputs, feeds)


PEERS = {f.__name__: f for f in (coldframe, tensorflow, openvino, tf2onnx)}


def peak():
    """Return the most memory that this process had resident so far, MiB."""
    with open("/proc/self/status") as f:
        line = next(line for line in f if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def load(path):
    with np.load(path) as archive:
        return dict(archive)


def main():
    peer, model, path, *outputs, _, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what runtimes print is no answer
    feeds = load(path)
    name, *engine = peer.split("+")  # coldframe+openvino: with that engine
    run = PEERS[name](model, feeds, outputs, folder, *engine)
    results = run(feeds)
    print("ready", file=answers)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "run":
            took = []
            for _ in range(int(argument)):
                started = time.perf_counter()
                results = run(feeds)
                took.append((time.perf_counter() - started) * 1e3)
            print(*took, file=answers)
        elif command == "feeds":
            feeds = load(argument)
            results = run(feeds)
            print("ready", file=answers)
        elif command == "save":
            np.savez(argument, *results)
            print("saved", file=answers)
        elif command == "memory":
            print(peak(), file=answers)


if __name__ == "__main__":
    main()
