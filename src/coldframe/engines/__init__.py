"""Engines turn nodes into something that runs: `reference` (numpy) and `onnxruntime`, behind one protocol."""
