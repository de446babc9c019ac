"""data/split/test.jsonl and the base model -> data/predictions/base.parquet: its replies and likelihoods.

Does not depend on the adapter: computed once a test set, from the cache in every later experiment.
"""

from stages.lib.errors import run_stage
from stages.lib.params import read_params
from stages.lib.predictions import FOLDER, PredictParams, predict_test
from stages.lib.requirements import check_installed


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    print(predict_test("base", read_params("predict", PredictParams)))


if __name__ == "__main__":
    run_stage(main, outs=[FOLDER / "base.parquet"], restore="dvc checkout predict_base")
