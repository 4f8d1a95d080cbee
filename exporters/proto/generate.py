"""Generates the Python code of our .proto files: `python -m exporters.proto.generate` from the project's root.

Needs grpcio-tools 1.76, in an environment of its own: generated code asks for a protobuf runtime at least as
new as its generator, and that of 1.76 is content with the oldest protobuf that the project allows.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = "1.76."


def sources() -> list[str]:
    """Our .proto files by their path from the root: under that name no other library registers a file."""
    return sorted(str(path.relative_to(ROOT)) for path in Path(__file__).parent.glob("*.proto"))


def main() -> int:
    """Write the modules and their type stubs beside the .proto files; returns an exit code."""
    try:
        found = version("grpcio-tools")
    except PackageNotFoundError:
        found = "missing"
    if not found.startswith(GENERATOR):
        sys.stderr.write(f"grpcio-tools is {found}; install grpcio-tools=={GENERATOR}0 in an environment of its own.\n")
        return 1
    from grpc_tools import protoc

    code: int = protoc.main(["protoc", f"-I{ROOT}", f"--python_out={ROOT}", f"--pyi_out={ROOT}", *sources()])
    return code


if __name__ == "__main__":
    sys.exit(main())
