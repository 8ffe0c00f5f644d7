"""Compile src/coldframe/formats/schema/*.proto into descriptors.binpb, the file coldframe.formats.messages loads.

Run it after editing a .proto. Needs grpcio-tools (dependency group `test`); `--check` only says whether it is due.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]

SCHEMA = Path(__file__).parents[1] / "src" / "coldframe" / "formats" / "schema"
OUTPUT = SCHEMA / "descriptors.binpb"
# Wrappers of scalars are not referenced by a field, but occur inside CollectionDef.any_list.
WELL_KNOWN = ("google/protobuf/any.proto", "google/protobuf/wrappers.proto")


def compile_schema() -> bytes:
    """Return the serialized FileDescriptorSet of all schema files, dependencies first."""
    google = Path(protoc.__file__).parent / "_proto"
    sources = sorted(p.name for p in SCHEMA.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        argv = ["protoc", f"-I{SCHEMA}", f"-I{google}", "--include_imports", f"--descriptor_set_out={out}"]
        if status := protoc.main([*argv, *WELL_KNOWN, *sources]):
            raise SystemExit(f"protoc failed with status {status}")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in files.file:
        _strip(file)
    return files.SerializeToString(deterministic=True)


def _strip(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Drop what loading does not need: options for other languages, and JSON names that are the default ones."""
    file.ClearField("options")
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            field.ClearField("json_name")


def main() -> None:
    fresh = compile_schema()
    if "--check" in sys.argv[1:]:
        stored = descriptor_pb2.FileDescriptorSet.FromString(OUTPUT.read_bytes())
        if stored != descriptor_pb2.FileDescriptorSet.FromString(fresh):
            raise SystemExit(f"{OUTPUT.name} is out of date: run tools/compile_schema.py")
    else:
        OUTPUT.write_bytes(fresh)
        print(f"wrote {OUTPUT} ({len(fresh)} bytes)")


if __name__ == "__main__":
    main()
