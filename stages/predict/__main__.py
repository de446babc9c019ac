"""data/split/test.jsonl and a contender -> data/predictions/<contender>.parquet: its replies and likelihoods.

The contenders are the base model and the tuned one. The base model's predictions do not depend on the adapter: they are computed
once a test set, and come from the cache in every later experiment.
"""

import sys

from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.model.adapter import load_adapter
from stages.lib.records.predictions import CONTENDERS, predictions_of
from stages.predict.predictions import PredictParams, predict_test


def main(name: str) -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    contender = next((known for known in CONTENDERS if known == name), None)
    if contender is None:
        raise ReprotuneError(f"predict: no contender {name!r}; name one of {', '.join(CONTENDERS)}")
    params = read_params("predict", PredictParams)
    print(predict_test(contender, params, adapt=load_adapter if contender == "tuned" else None))


if __name__ == "__main__":
    name = "".join(sys.argv[1:2])
    run_stage(lambda: main(name), outs=[predictions_of(name)], restore=f"dvc checkout predict@{name}")
