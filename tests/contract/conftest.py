from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.validate import CONTRACT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a Prism server made from the contract: it refuses what the contract does not allow."""
    command = shutil.which("prism") or shutil.which("prism", path=str(ROOT / "node_modules" / ".bin"))
    if command is None:
        pytest.skip("no prism here: npm install --no-save @stoplight/prism-cli")
    # Prism serves the bare paths, whatever the servers in the document are called.
    prefixed: dict[str, Any] = {**CONTRACT, "paths": {f"/v1{path}": item for path, item in CONTRACT["paths"].items()}}
    document = tmp_path_factory.mktemp("prism") / "contract.json"
    document.write_text(json.dumps(prefixed))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    arguments = [command, "mock", "--errors", "--host", "127.0.0.1", "--port", str(port), str(document)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "listening on" in line:
                break
        else:
            pytest.fail(f"Prism did not start: {''.join(said)}")
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
