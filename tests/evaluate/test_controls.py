"""The controls of the evaluation, on a model of two layers: what it must see, it sees."""

import pytest

from benchmarks import controls


@pytest.mark.slow
def test_shuffled_replies_are_called_worse_and_a_tenfold_learning_rate_fails_the_gate_on_retention(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["controls", "--tiny", "--seeds", "1"])
    with pytest.raises(SystemExit) as ended:
        controls.main()
    said = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0, said
    assert said[0].startswith("replies shuffled, seed 0: worse, perplexity ")
    assert said[1] == "called worse: 1 of 1"
    assert said[2].startswith("learning rate 5e-05: the gate passes")
    assert "ten times as much: it fails" in said[2]
