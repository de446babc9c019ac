"""How long training takes here, by a few of its steps."""

import math
import time
from collections.abc import Iterator

from stages.lib.model.hardware import find_hardware, use_deterministic_algorithms
from stages.train.methods import check_installed_for
from stages.train.plan import count_steps, count_tokens
from stages.train.preparation import prepare_trainer
from stages.train.ranks import Ranks
from tools.console import paragraph, plural
from tools.preflight.examination import Examined
from tools.preflight.units import to_duration

TIMED_STEPS, WARM_UP_STEPS = 3, 1


def tell_time(examined: Examined, number: int) -> Iterator[str]:
    """A few steps of the real training, and how long the run will take so."""
    seconds, tokens, validation = time_steps(examined)
    steps = count_steps(len(examined.packs), examined.params)
    of_a_run = steps * sum(pack[0] for pack in examined.packs) / math.ceil(len(examined.packs) / examined.params.packs_per_step)
    validations = 1 + math.ceil(steps / math.ceil(steps / examined.params.validations))
    # A forward pass is a third of a step's work, a little more with frozen weights: so this is on the safe side.
    total = (of_a_run + validations * validation / 2) * seconds / tokens / number
    others = f" on one GPU; {number} take" if number > 1 else "; training takes"
    yield from paragraph(
        "time",
        f"{tokens / seconds:,.0f} tokens/s in {TIMED_STEPS} steps{others} about {to_duration(total)} for {plural(steps, 'step')} "
        f"and {plural(validations, 'validation')}",
    )


def time_steps(examined: Examined) -> tuple[float, int, int]:
    """Seconds and tokens of the timed steps, and the tokens of a validation."""
    params = examined.params
    check_installed_for(params.method)
    use_deterministic_algorithms(params.deterministic)
    with prepare_trainer(params, find_hardware(params.precision), Ranks()) as (trainer, validation):
        trainer.model.train()
        for _ in range(WARM_UP_STEPS):
            trainer.train_step()
        started = time.perf_counter()  # each step ends with its loss as a number, so the GPU has done it
        for _ in range(TIMED_STEPS):
            trainer.train_step()
        seconds = time.perf_counter() - started
        packs = [pack for step in range(WARM_UP_STEPS, trainer.step) for pack in trainer.plan.global_batch(step)]
    tokens, of_validation = (sum(map(count_tokens, some)) for some in (packs, validation))
    return seconds, tokens, of_validation
