"""The tokenizer and its chat template in models/tokenizer/: written once by base_model, read by every later stage."""

from pathlib import Path
from typing import Any

from stages.lib.core.errors import ReprotuneError

TOKENIZER = Path("models/tokenizer")


def load_tokenizer(folder: Path = TOKENIZER, trust_remote_code: bool = False) -> Any:
    """The tokenizer with its chat template.

    Raises:
        ReprotuneError: there is none in the folder.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ReprotuneError(f"{folder}: no tokenizer can be loaded: {str(error).splitlines()[0]}") from None
