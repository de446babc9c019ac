"""The base model that params.yaml names -> models/base.json (its pin: source, revision, size and sha256 of each file) and
models/tokenizer/. The weights stay outside git and DVC; see stages/lib/base_model/pin.py."""

from stages.base_model.kind import check_kind
from stages.base_model.tensors import check_weights, name_some
from stages.base_model.token_ids import fit_to_embeddings
from stages.base_model.tokenizer import write_tokenizer
from stages.lib.base_model.pin import PIN, BasePin, check_own_code, pin_files
from stages.lib.base_model.pins import hash_files, write_pin
from stages.lib.base_model.source import BaseModelParams, BaseModelSource, fetch
from stages.lib.chat_template.tokenizer import TOKENIZER
from stages.lib.core.errors import run_stage
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed


def main() -> None:
    check_installed("stages/lib/base_model")
    params = read_params("base_model", BaseModelParams)
    folder = fetch(params)
    if params.trust_remote_code:
        check_own_code(folder)
    config = check_kind(folder, params.trust_remote_code)
    weights = check_weights(folder, config, params.trust_remote_code)
    files = pin_files(folder, params)
    write_tokenizer(folder, params)
    taken_out = fit_to_embeddings(folder, weights.rows, params.trust_remote_code)
    source = params.model_dump(include=set(BaseModelSource.model_fields))
    write_pin(PIN, BasePin(**source, files=files, tokenizer=hash_files(TOKENIZER.iterdir())))
    size = sum(file.size for file in files.values())
    print(f"base_model: {params.name}, {len(files)} files, {size / 1e6:,.0f} MB" + describe(weights.unused, taken_out))


def describe(unused: list[str], taken_out: list[str]) -> str:
    """What of the model's files has no use here.

    >>> describe(["vision.a", "vision.b"], ["<pad>"])
    '; 2 tensors are not used (vision.a, vision.b); tokens without an embedding are taken out: <pad>'
    """
    tensors = f"; {len(unused):,} tensors are not used ({name_some(unused)})" if unused else ""
    return tensors + (f"; tokens without an embedding are taken out: {', '.join(taken_out)}" if taken_out else "")


if __name__ == "__main__":
    run_stage(main, outs=[PIN, TOKENIZER], restore="dvc checkout base_model")
