"""The specification's own JSON schema, from the npm package that publishes it."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.servers import missing

PACKAGE = "@asyncapi/specs@6.11.1"


def schema(version: str, folder: Path) -> dict[str, Any]:
    """The schema of AsyncAPI `version`; ends the test where the package cannot be had."""
    command = ["npm", "pack", PACKAGE, "--pack-destination", str(folder)]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        missing("asyncapi", f"{PACKAGE} cannot be had: {error}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        found = packed.extractfile(f"package/schemas/{version}.json")
        assert found is not None
        read: dict[str, Any] = json.load(found)
    return read
