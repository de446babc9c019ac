"""Where base models lie that no other cache holds: .base_models/ in the main checkout, outside git and DVC."""

from pathlib import Path

from stages.lib.core.files import project_root


def store() -> Path:
    return project_root() / ".base_models"
