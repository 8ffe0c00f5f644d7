"""The whole life of a model, with the real commands: ``make demo``.

Train a classifier of digits with Adam and dropout, checkpointing every few steps; train it again, killed with
``kill -9`` at a random moment and started once more; compare both to the bit; freeze, run the frozen graph, compare
with the live session. Then take over a checkpoint that TensorFlow trained: inspect, freeze, run, and compare the
accuracy with the one that TensorFlow recorded. Exits with 1 where anything differs.
"""

from __future__ import annotations

import json
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import coldframe as cf

ROOT = Path(__file__).resolve().parents[1]
DIGITS = Path("examples/digits")
OUT = Path("demo-out")
STEPS = 200
LINES = 24  # of each command's output


def run(about: str, *args: str, lines: int = LINES) -> None:
    """Print a command line, run it, and print the beginning of what it says."""
    print(f"\n# {about}\n$ coldframe {shlex.join(args)}", flush=True)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "coldframe", *args], cwd=ROOT, capture_output=True, text=True)
    took = time.perf_counter() - started
    said = done.stdout.splitlines()
    for line in [*said[:lines], *([f"... {len(said) - lines} more lines"] if len(said) > lines else [])]:
        print(line)
    if done.stderr:
        print(done.stderr.rstrip())
    print(f"({took:.2f} s)")
    if done.returncode:
        sys.exit(f"the command failed with exit code {done.returncode}")


def train(folder: Path, kill_after: int | None = None) -> None:
    """Run the training program; with `kill_after`, kill it once it has written that many checkpoints."""
    command = [sys.executable, "examples/train_digits.py", str(folder), "--steps", str(STEPS)]
    print(f"$ python {shlex.join(command[1:])}", flush=True)
    process = subprocess.Popen(command, cwd=ROOT)
    if kill_after is None:
        if process.wait():
            sys.exit("training failed")
        return
    while process.poll() is None and len(written(folder)) < kill_after:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))  # a moment that nobody chose: perhaps in the middle of a save
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"... killed with SIGKILL; the last good checkpoint: {cf.latest_checkpoint(ROOT / folder)}")


_SEEN: set[str] = set()


def written(folder: Path) -> set[str]:
    """Return the names of all checkpoints seen in `folder` so far; old ones are removed as training goes on."""
    _SEEN.update(p.name for p in (ROOT / folder).glob("*.index"))
    return _SEEN


def bits(value: Any) -> Any:
    """Return what two tensors have in common that are equal to the bit."""
    array = np.asarray(value)
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


def same(first: Path, second: Path) -> int:
    """Compare the final checkpoints of two runs to the bit; return the number of tensors."""
    a, b = (cf.open_checkpoint(ROOT / f) for f in (first, second))
    if set(a) != set(b):
        sys.exit(f"different tensors: {sorted(set(a) ^ set(b))}")
    for name in a:
        if bits(a[name]) != bits(b[name]):
            sys.exit(f"{name} differs between {first} and {second}")
    with np.load(ROOT / first / "live.npz") as x, np.load(ROOT / second / "live.npz") as y:
        if x["loss"].tobytes() != y["loss"].tobytes() or x["probabilities"].tobytes() != y["probabilities"].tobytes():
            sys.exit("the last loss or the answers differ")
    return len(a)


def life(whole: Path, killed: Path) -> None:
    """Train, crash, resume, freeze, run."""
    print("# Train with Adam and dropout, a checkpoint every 5 steps:")
    train(whole)
    print("\n# The same again, killed at a random moment, and started once more:")
    train(killed, kill_after=random.randint(3, 30))
    train(killed)
    count = same(whole, killed)
    print(
        f"bit-identical: {count} tensors (weights, Adam's slots, global step, random state), the loss and the answers"
    )
    run("What was saved?", "inspect", str(killed), lines=16)
    result = OUT / "trained.npz"
    run(
        "Run the frozen graph:",
        *("run", str(killed / "digits.pb"), "--input", f"image={DIGITS / 'test.npz'}:images"),
        *("--fetch", "probabilities:0", "-o", str(result)),
    )
    with np.load(ROOT / result) as frozen, np.load(ROOT / killed / "live.npz") as live:
        difference = float(np.abs(frozen["probabilities:0"] - live["probabilities"]).max())
    print(f"largest difference between the frozen graph and the live session: {difference:.1e}")
    if difference > 1e-5:
        sys.exit("the frozen graph disagrees with the live session")


def tensorflows() -> bool:
    """Take over a checkpoint that TensorFlow trained; return whether the accuracy is the one it recorded."""
    answers = json.loads((ROOT / DIGITS / "answers.json").read_text())
    checkpoint, frozen, result = str(DIGITS / answers["checkpoint"]), str(OUT / "digits.pb"), OUT / "result.npz"
    run("A training checkpoint that TensorFlow wrote:", "inspect", checkpoint, lines=12)
    run("One file with weights, for inference:", "freeze", f"{checkpoint}.meta", "--inference", "-o", frozen)
    run("Which names can be fed and fetched?", "names", frozen, lines=12)
    run(
        "Classify 360 digits that it has never seen:",
        *("run", frozen, "--input", f"image={DIGITS / 'test.npz'}:images", "--fetch", answers["output"]),
        *("-o", str(result)),
    )
    with np.load(ROOT / DIGITS / "test.npz") as test, np.load(ROOT / result) as got:
        probabilities = got[answers["output"]]
        hits = np.argmax(probabilities, axis=1) == test["labels"]
        difference = float(np.abs(probabilities - test["probabilities"]).max())
    accuracy = float(np.mean(hits, dtype=np.float32))
    print(f"\naccuracy   {accuracy:.6f}  ({int(hits.sum())} of {len(hits)})")
    print(f"TensorFlow {answers['test_accuracy']:.6f}  (version {answers['tensorflow']}, recorded when it was trained)")
    print(f"largest difference of a probability: {difference:.1e}")
    return accuracy == answers["test_accuracy"]


def main() -> int:
    """Run the demo; return the exit code."""
    started = time.perf_counter()
    (ROOT / OUT).mkdir(exist_ok=True)
    stamp = f"{int(time.time())}"
    life(OUT / f"whole-{stamp}", OUT / f"killed-{stamp}")
    good = tensorflows()
    print(f"all in {time.perf_counter() - started:.1f} s, without TensorFlow")
    if not good:
        print("the accuracies differ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
