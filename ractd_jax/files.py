"""Files that appear only when they are complete."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_json(path: str | os.PathLike, content) -> None:
    """Writes JSON that appears only when complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)
