"""Every engine, held to the same conformance tests."""

from engines_conformance import EngineConformance


class TestReference(EngineConformance):
    engine = "reference"


class TestOnnxRuntime(EngineConformance):
    engine = "onnxruntime"


class TestAuto(EngineConformance):
    engine = "auto"
