"""The life of a model from checkpoint to answers, with the real commands: ``make demo``.

On the classifier in examples/digits, which TensorFlow trained: inspect the checkpoint, freeze it, list names, run the
frozen graph on held-out digits, and compare the accuracy with the one that TensorFlow recorded. Exits with 1 if they
differ.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DIGITS = Path("examples/digits")
OUT = Path("demo-out")
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


def main() -> int:
    """Run the demo; return the exit code."""
    answers = json.loads((ROOT / DIGITS / "answers.json").read_text())
    (ROOT / OUT).mkdir(exist_ok=True)
    checkpoint, frozen, result = str(DIGITS / answers["checkpoint"]), str(OUT / "digits.pb"), OUT / "result.npz"
    started = time.perf_counter()
    run("What is in this training checkpoint?", "inspect", checkpoint)
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
    print(f"all in {time.perf_counter() - started:.1f} s, without TensorFlow")
    if accuracy != answers["test_accuracy"]:
        print("the accuracies differ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
