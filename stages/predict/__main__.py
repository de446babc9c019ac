"""data/split/{test,train}.jsonl, general prompts and a contender -> data/predictions/<contender>.parquet: replies, likelihoods.

The contenders are the base model and the tuned one. The base model's predictions do not depend on the adapter: they are computed
once a test set, and come from the cache in every later experiment. The tuned model reads the base model's replies to the general
prompts, whose likelihood it gives.
"""

import sys
from pathlib import Path

from stages.lib.base_model.pin import PIN
from stages.lib.base_model.pins import ADAPTER_PIN
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.general_prompts import read_prompts
from stages.lib.model.hardware import describe_environment, find_hardware
from stages.lib.model.scratch import hold_folder, take_fingerprint
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.lib.records.predictions import CONTENDERS, Conditions, Contender, Prediction, predictions_of, write_predictions
from stages.predict.journal import open_journal
from stages.predict.params import PredictParams
from stages.predict.predictions import Inputs, Predictor
from stages.predict.retention import read_base_replies
from stages.predict.training_data import read_training_data
from stages.predict.vllm_engine import describe_decoding, find_engine, start_vllm
from stages.predict.workers import start_work

ROOM = Path(__file__).parent


def main(name: str) -> None:
    check_installed("stages/lib/base_model")
    contender = next((known for known in CONTENDERS if known == name), None)
    if contender is None:
        raise ReprotuneError(f"predict: no contender {name!r}; name one of {', '.join(CONTENDERS)}")
    predict(contender, read_params("predict", PredictParams))


def predict(name: Contender, params: PredictParams) -> None:
    hardware, tokenizer, retention = find_hardware(params.precision), load_tokenizer(), Path(params.retention)
    test, train = conversations_of("test"), conversations_of("train")
    training = read_training_data(train, tokenizer, params.seed, params.task)
    decoding = describe_decoding(engine := find_engine(hardware))
    base_replies = None if name == "base" else read_base_replies(decoding)
    inputs = Inputs(read_conversations(test), training, read_prompts(retention), base_replies)
    conditions = Conditions(
        environment=describe_environment(hardware) | {"device_count": 1},  # each result is one device's, however many there are
        decoding=decoding,
        batch_size=params.batch_size,
        max_new_tokens=params.max_new_tokens or training.longest,
        task=training.task,
        task_reason=training.task_reason,
        labels=training.labels,
    )
    files = [PIN, test, train, retention, *([] if name == "base" else [ADAPTER_PIN, predictions_of("base")])]
    with hold_folder(f"predict_{name}", take_fingerprint(ROOM, [params.model_dump(), conditions], files)) as folder:
        with open_journal(folder) as journal:
            if journal.done:
                print(f"predict {name}: goes on after {len(journal.done):,} results", file=sys.stderr, flush=True)
            predictor = Predictor(tokenizer, params, conditions["max_new_tokens"], name, journal)
            if engine:
                with start_vllm(name, hardware, tokenizer) as worker:
                    predictor.reply_ahead(worker, inputs)
            with start_work(name, hardware, params.batch_size) as worker:
                rows = predictor.predict(worker, inputs)
        write_predictions(predictions_of(name), rows, conditions)
    print(describe(name, rows, conditions))


def describe(name: str, rows: list[Prediction], conditions: Conditions) -> str:
    test = [row for row in rows if row["set"] == "test"]
    scored, replied = (sum(row[column] is not None for row in test) for column in ("nll", "reply"))
    wanted = replied + sum(row["unanswered"] is not None for row in test)
    beyond = sum((row["labels"] or 0) > (row["room"] or len(rows)) for row in test)
    long = f"; {beyond:,} references are longer" if beyond else ""
    environment = conditions["environment"]
    return (
        f"predict {name}: likelihood of {scored:,} of {len(test):,} messages of test, {replied:,} of {wanted:,} replies of up to "
        f"{conditions['max_new_tokens']:,} tokens{long}; {conditions['task']} ({conditions['task_reason']}); on "
        f"{environment['device']} in {environment['precision']}"
    )


if __name__ == "__main__":
    name = "".join(sys.argv[1:2])
    run_stage(lambda: main(name), outs=[predictions_of(name)], restore=f"dvc checkout predict@{name}")
