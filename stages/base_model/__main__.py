"""The base model that params.yaml names -> models/base.json (its pin: source, revision, size and sha256 of each file) and
models/tokenizer/. The weights stay outside git and DVC; see stages/lib/base_model/pin.py."""

from stages.base_model.tokenizer import write_tokenizer
from stages.lib.base_model.pin import PIN, BasePin, check_own_code, pin_files
from stages.lib.base_model.source import BaseModelParams, BaseModelSource, fetch
from stages.lib.core.errors import run_stage
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.pins import hash_files, write_pin
from stages.lib.tokenizer import TOKENIZER


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("base_model", BaseModelParams)
    folder = fetch(params)
    if params.trust_remote_code:
        check_own_code(folder)
    files = pin_files(folder, params)
    write_tokenizer(folder, params)
    source = params.model_dump(include=set(BaseModelSource.model_fields))
    write_pin(PIN, BasePin(**source, files=files, tokenizer=hash_files(TOKENIZER.iterdir())))
    size = sum(file.size for file in files.values())
    print(f"base_model: {params.name}, {len(files)} files, {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    run_stage(main, outs=[PIN, TOKENIZER], restore="dvc checkout base_model")
