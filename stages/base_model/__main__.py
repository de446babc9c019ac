"""The base model that params.yaml names -> models/base.json (its pin: source, revision, size and sha256 of each file) and
models/tokenizer/. The weights stay outside git and DVC; see stages/lib/base_model.py."""

from stages.base_model.tokenizer import write_tokenizer
from stages.lib.base_model.pin import PIN, pin_files
from stages.lib.base_model.source import BaseModelParams, fetch
from stages.lib.core.errors import run_stage
from stages.lib.core.files import write_json
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.tokenizer import TOKENIZER


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("base_model", BaseModelParams)
    folder = fetch(params.source, params.name, params.revision, params.trust_remote_code)
    files = pin_files(folder, params.trust_remote_code)
    write_tokenizer(folder, params.trust_remote_code, params.chat_template, params.template_variables)
    pin = params.model_dump(include={"source", "name", "revision", "trust_remote_code"}) | {"files": files}
    write_json(PIN, pin)
    size = sum(file["size"] for file in files.values())
    print(f"base_model: {params.name}, {len(files)} files, {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    run_stage(main, outs=[PIN, TOKENIZER], restore="dvc checkout base_model")
