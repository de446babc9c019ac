"""Where base models lie that no other cache holds: .base_models/ in the main checkout, outside git and DVC."""

import hashlib
import os
from pathlib import Path


def project_root() -> Path:
    """The main checkout: DVC names it in DVC_ROOT, also when an experiment runs in a copy elsewhere."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def store() -> Path:
    return project_root() / ".base_models"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
