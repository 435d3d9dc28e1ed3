"""Compiles proto/ into the package when a wheel is built, also an editable one.

The generated modules are not in version control: they have to fit the locked protobuf, and no linter should meet them.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is hatchling's own affair
    """Runs protoc on every .proto and adds what it makes to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the modules beside the code that imports them."""
        from grpc_tools import protoc

        root = Path(self.root)
        source = root / "proto"
        protos = sorted(source.rglob("*.proto"))
        with tempfile.TemporaryDirectory(dir=root / "src", prefix=".proto-") as made:
            # One option for messages and one for their types; the few calls are made by name, so no stubs are needed.
            options = [f"--proto_path={source}", f"--python_out={made}", f"--pyi_out={made}"]
            if protoc.main(["protoc", *options, *(str(proto) for proto in protos)]) != 0:
                raise RuntimeError(f"protoc failed on {', '.join(str(proto) for proto in protos)}")
            for file in sorted(Path(made).rglob("*_pb2.py*")):
                name = file.relative_to(made)
                file.chmod(0o644)
                os.replace(file, root / "src" / name)
                # Named, because a wheel leaves out what version control ignores.
                build_data["artifacts"].append(f"src/{name.as_posix()}")
