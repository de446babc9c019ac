"""data/split/test.jsonl, the base model and models/adapter/ -> data/predictions/tuned.parquet: replies and likelihoods."""

from stages.lib.adapter import load_adapter
from stages.lib.errors import run_stage
from stages.lib.params import read_params
from stages.lib.predictions import FOLDER, PredictParams, predict_test
from stages.lib.requirements import check_installed


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    print(predict_test("tuned", read_params("predict", PredictParams), adapt=load_adapter))


if __name__ == "__main__":
    run_stage(main, outs=[FOLDER / "tuned.parquet"], restore="dvc checkout predict_tuned")
