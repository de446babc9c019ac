"""What other training loops get wrong: means of means, validation by batch, memory that runs out, losses that are no numbers."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from training import train_params, with_new_adapter
from transformers import LlamaConfig, LlamaForCausalLM

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.train.comparison import choose_nll
from stages.train.likelihood import separate_nll
from stages.train.plan import Document, Pack, Plan, count_labels
from stages.train.ranks import Ranks
from stages.train.run import run_trainer
from stages.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "no_checkpoints")

FLOAT32 = Hardware("cpu", "float32")
VOCABULARY = 90
PARAMS = train_params(
    learning_rate=0.01, lr_scheduler_type="constant_with_warmup", warmup_steps=0, validations=1000, keep="last"
)  # fmt: skip


def document(name: str, length: int, labels: int) -> Document:
    choose = random.Random(name)
    ids = [choose.randrange(3, VOCABULARY) for _ in range(length)]
    return Document(name, ids, [IGNORE_INDEX] * (length - labels) + ids[length - labels :])


PACKS = [
    [document("a", 20, 1)],
    [document("b", 12, 11), document("c", 6, 5), document("d", 4, 0)],
    [document("e", 9, 1), document("f", 15, 2)],
    [document("g", 24, 23)],
]
TINY, ONE_PACK, ALL = 1, 24, 10_000
VALIDATION = [[document("v", 10, 4), document("w", 16, 9)], [document("x", 5, 1)]]


@pytest.fixture(scope="module")
def adapted() -> Any:
    """A model whose adapter already does something; deepcopy it."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(5)
    model = with_new_adapter(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def make_trainer(adapted: Any, packs: list[Pack] = PACKS, at_once: int = ALL, steps: int = 1, **changes: Any) -> Trainer:
    model = copy.deepcopy(adapted)
    nll = choose_nll(model, packs[0], FLOAT32)
    model.train()
    plan = Plan(packs, len(packs), steps, seed=0)
    return Trainer(model, nll, plan, PARAMS.model_copy(update=changes), FLOAT32, Ranks(), at_once)


def tensors_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.trained.items()}


def mean_over_labels(model: Any, packs: list[Pack]) -> torch.Tensor:
    return separate_nll(model, [document for pack in packs for document in pack]).mean()


def mean_of_means(model: Any, packs: list[Pack]) -> torch.Tensor:
    return torch.stack([separate_nll(model, pack).mean() for pack in packs]).mean()


def loss_and_norm(adapted: Any, reduce: Any) -> tuple[float, float]:
    model = copy.deepcopy(adapted).train()
    loss = reduce(model, PACKS)
    loss.backward()
    gradients = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    return loss.item(), torch.stack(gradients).norm().item()


@pytest.mark.parametrize("at_once", [pytest.param(TINY, marks=pytest.mark.slow), ONE_PACK, ALL])
def test_a_step_is_the_mean_over_all_its_labels_however_much_runs_at_once(adapted, at_once):
    whole = make_trainer(adapted)
    first = whole.train_step()
    trainer = make_trainer(adapted, at_once=at_once)
    row = trainer.train_step()
    loss, norm = loss_and_norm(adapted, mean_over_labels)
    for found in (first, row):
        assert found["train_loss"] == pytest.approx(loss, rel=1e-5)
        assert found["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    torch.testing.assert_close(tensors_of(trainer), tensors_of(whole), atol=1e-5, rtol=1e-5)


def test_no_gradient_is_left_for_the_next_step(adapted):
    trainer = make_trainer(adapted, steps=2, learning_rate=1e-12)
    first, second = trainer.train_step(), trainer.train_step()
    assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-5)
    assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-5)


def test_the_mean_of_means_would_be_another_step(adapted):
    loss, norm = loss_and_norm(adapted, mean_over_labels)
    other_loss, other_norm = loss_and_norm(adapted, mean_of_means)
    assert other_loss != pytest.approx(loss, rel=0.01)
    assert other_norm != pytest.approx(norm, rel=0.01)


@pytest.mark.parametrize("at_once", [pytest.param(TINY, marks=pytest.mark.slow), ONE_PACK, ALL])
def test_several_epochs_give_the_same_adapter_however_much_runs_at_once(adapted, at_once):
    """Plain gradient descent: Adam divides a gradient of rounding errors by itself."""
    results = []
    for tokens in (ALL, at_once):
        trainer = make_trainer(adapted, at_once=tokens, steps=4, learning_rate=0.05)
        trainer.optimizer = torch.optim.SGD(trainer.trained.values(), lr=0.05)
        results.append(run_trainer(trainer, VALIDATION, Path("nowhere"), lambda _row: None))
    torch.testing.assert_close(results[1].tensors, results[0].tensors, atol=1e-5, rtol=1e-5)
    assert [row["validation_loss"] for row in results[1].history] == pytest.approx(
        [row["validation_loss"] for row in results[0].history], rel=1e-5
    )


@pytest.mark.parametrize("at_once", [pytest.param(TINY, marks=pytest.mark.slow), ONE_PACK, ALL])
def test_the_validation_loss_depends_neither_on_packs_nor_on_how_much_runs_at_once(adapted, at_once):
    documents = [document for pack in PACKS for document in pack]
    expected = mean_over_labels(copy.deepcopy(adapted).eval(), PACKS).item()
    trainer = make_trainer(adapted, at_once=at_once)
    for packs in (PACKS, [documents], [[document] for document in documents], PACKS[::-1]):
        assert trainer.validate(packs) == pytest.approx(expected, rel=1e-5)
    assert trainer.model.training
    assert all(parameter.grad is None for parameter in trainer.trained.values())


def test_gradients_are_clipped_to_the_norm_over_all_of_them(adapted):
    free, clipped = (make_trainer(adapted, max_grad_norm=limit) for limit in (1e9, 0.25))
    gradients = []
    for trainer in (free, clipped):
        trainer.optimizer.zero_grad = lambda: None
        row = trainer.train_step()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in trainer.trained.values()]))
        assert row["gradient_norm"] == pytest.approx(gradients[0].norm().item(), rel=1e-5), "the norm before clipping"
    assert gradients[0].norm() > 0.5
    torch.testing.assert_close(gradients[1], gradients[0] * 0.25 / gradients[0].norm(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("at_once", [pytest.param(TINY, marks=pytest.mark.slow), 6, ALL])
@pytest.mark.parametrize(
    "packs",
    [
        [[document("long", 60, 30)], [document("a", 4, 2), document("b", 5, 1)]],
        [[document("a", 6, 3), document("silent", 8, 0), document("b", 5, 1)]],
        [[document("silent", 6, 0), document("mute", 6, 0)], [document("a", 6, 3)]],
        [[document("token", 1, 1), document("a", 6, 6)]],
    ],
    ids=["over_long", "no_label_in_the_middle", "a_micro_batch_without_labels", "one_token"],
)
def test_odd_documents_break_nothing_and_the_loss_is_right(adapted, packs, at_once):
    trainer = make_trainer(adapted, packs, at_once)
    model = copy.deepcopy(adapted).train()
    expected = mean_over_labels(model, packs)
    expected.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]).norm()
    assert trainer.validate(packs) == pytest.approx(expected.item(), rel=1e-5)
    row = trainer.train_step()
    assert row["train_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-5)


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(
    ("losses", "patience", "steps", "best"),
    [
        ([9, 5, 4, 3, 2, 1, 0.5], None, 6, 6),
        ([9, 5, 3, 4, 4, 1, 0], 2, 4, 2),
        ([9, 5, 3, 4, 2, 3, 3], 2, 6, 4),
        ([1, 5, 6, 7, 8, 9, 9], 1, 2, 1),
        ([9, 5, 5, 5, 5, 5, 5], 3, 4, 1),
        ([9, 5, 3, 4, 4, 4, 4], None, 6, 2),
    ],
    ids=["always_better", "stops", "patience_begins_anew", "start_does_not_count", "as_good_is_no_better", "never_stops"],
)
def test_a_run_stops_early_and_keeps_the_step_it_should(adapted, monkeypatch, keep, losses, patience, steps, best):
    trainer = make_trainer(adapted, steps=6, keep=keep, early_stopping_patience=patience)
    left, states = iter(losses), []

    def validate(_packs: list[Pack]) -> float:
        states.append(tensors_of(trainer))
        return next(left)

    monkeypatch.setattr(trainer, "validate", validate)
    outcome = run_trainer(trainer, VALIDATION, Path("nowhere"), lambda _row: None)
    kept = best if keep == "best" else steps
    assert [row["step"] for row in outcome.history] == list(range(steps + 1))
    assert [row["step"] for row in outcome.history if row.get("kept")] == [outcome.step] == [kept]
    torch.testing.assert_close(outcome.tensors, states[kept], atol=0, rtol=0)
    names = list(outcome.tensors)
    assert all(
        any(not torch.equal(states[kept][name], other[name]) for name in names) for at, other in enumerate(states) if at != kept
    )


def run_out_above(trainer: Trainer, tokens: int) -> list[int]:
    """In training, memory for so many tokens at once; what failed, in a list that grows."""
    nll, failed = trainer.nll, []

    def limited(model: Any, documents: list[Document]) -> torch.Tensor:
        size = sum(len(document.input_ids) for document in documents)
        if size > tokens and model.training:
            failed.append(size)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return nll(model, documents)

    trainer.nll = limited
    return failed


@pytest.mark.parametrize("room", [24, 40])
def test_where_memory_runs_out_less_runs_at_once_and_the_adapter_is_the_same(adapted, capsys, room):
    results = []
    for limit in (ALL, room):
        trainer = make_trainer(adapted, steps=2)
        failed = run_out_above(trainer, limit)
        results.append(run_trainer(trainer, VALIDATION, Path("nowhere"), lambda _row: None))
    said = capsys.readouterr().err.splitlines()
    assert 0 < len(said) <= 2
    assert said[-1] == f"train: out of GPU memory; {trainer.tokens_at_once:,} tokens at once from step 1 on"
    assert trainer.tokens_at_once <= room
    assert len(failed) == len(said), "what failed once is not tried again in the next step"
    assert [row["train_loss"] for row in results[1].history[1:]] == pytest.approx(
        [row["train_loss"] for row in results[0].history[1:]], rel=1e-5
    )
    torch.testing.assert_close(results[1].tensors, results[0].tensors, atol=1e-5, rtol=1e-5)


def test_where_even_one_document_is_too_long_the_error_says_so(adapted):
    trainer = make_trainer(adapted)
    before = tensors_of(trainer)
    run_out_above(trainer, 20)  # the longest has 24
    with pytest.raises(
        ReprotuneError, match=r"^train: this machine ran out of memory with 24 tokens at once; .*pack_length"
    ) as error:
        trainer.train_step()
    assert "\n" not in str(error.value)
    torch.testing.assert_close(tensors_of(trainer), before, atol=0, rtol=0)


def test_memory_that_runs_out_at_the_validation_ends_in_less_at_once_too(adapted, capsys):
    trainer = make_trainer(adapted, steps=1)
    expected = trainer.validate(VALIDATION)
    nll = trainer.nll

    def limited(model: Any, documents: list[Document]) -> torch.Tensor:
        if sum(len(document.input_ids) for document in documents) > 26:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return nll(model, documents)

    trainer.nll = limited
    assert trainer.validate(VALIDATION) == pytest.approx(expected, rel=1e-5)
    assert trainer.tokens_at_once <= 26
    assert "out of GPU memory" in capsys.readouterr().err


def poison_loss(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    nll = trainer.nll
    monkeypatch.setattr(trainer, "nll", lambda model, documents: nll(model, documents) * float("inf"))


def poison_gradient(trainer: Trainer, _monkeypatch: pytest.MonkeyPatch) -> None:
    next(iter(trainer.trained.values())).register_hook(lambda gradient: gradient * float("nan"))


@pytest.mark.parametrize(("poison", "name"), [(poison_loss, "loss is inf"), (poison_gradient, "gradient norm is nan")])
def test_a_loss_or_gradient_that_is_no_number_names_its_rows_and_moves_no_weight(adapted, monkeypatch, poison, name):
    packs = [[document(f"row{number}", 5, 2)] for number in range(12)]
    trainer = make_trainer(adapted, packs)
    before = tensors_of(trainer)
    poison(trainer, monkeypatch)
    with pytest.raises(ReprotuneError) as error:
        trainer.train_step()
    ids = [each.id for pack in trainer.plan.global_batch(0) for each in pack]
    assert f"the {name} at step 1; " in str(error.value)
    assert str(error.value).endswith(f": {', '.join(ids[:10])} and 2 more")
    assert "\n" not in str(error.value)
    assert trainer.step == 0
    torch.testing.assert_close(tensors_of(trainer), before, atol=0, rtol=0)


def test_the_packs_have_numbers_of_labels_that_differ_widely(adapted):
    assert [count_labels(pack) for pack in PACKS] == [len(separate_nll(adapted, pack)) for pack in PACKS] == [1, 16, 3, 23]
