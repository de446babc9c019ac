"""data/split/test.jsonl and a contender -> data/predictions/<contender>.parquet: its replies and likelihoods.

The contenders are the base model and the tuned one. The base model's predictions do not depend on the adapter: they are computed
once a test set, and come from the cache in every later experiment.
"""

import sys

from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.model.adapter import load_adapter
from stages.lib.records.predictions import CONTENDERS, Contender, predictions_of
from stages.predict.predictions import PredictParams, predict_test


def main(contender: Contender) -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    if contender not in CONTENDERS:
        raise ReprotuneError(f"predict: no contender {contender!r}; name one of {', '.join(CONTENDERS)}")
    params = read_params("predict", PredictParams)
    print(predict_test(contender, params, adapt=load_adapter if contender == "tuned" else None))


if __name__ == "__main__":
    contender = "".join(sys.argv[1:2])
    run_stage(lambda: main(contender), outs=[predictions_of(contender)], restore=f"dvc checkout predict@{contender}")
