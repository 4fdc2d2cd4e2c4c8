"""Ways to make the unrolled scores of a ReLU network agree with leaving a row out.

    python -m benchmarks.smoothness_remedies

On the run ``relu`` of ``benchmarks.metasmoothness``: Pearson correlation with the same truth of

* the plain sweep;
* the mean over eight nearby starts, a thousandth and a hundredth of the start's length away;
* the sweep with kinks rounded off: at the recorded states, ReLU's derivatives are those of a
  softplus of sharpness beta;
* the last steps only: the sweep stopped after a half, a quarter, an eighth of the steps;
* a damped sweep: the cotangent shrinks by a factor per step, to 1/e within a half, a quarter, an
  eighth of the steps.

All variants were fixed before any was run. Writes ``benchmarks/results/smoothness_remedies.json``.
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.metasmoothness import SEED, agreement, leave_one_out, left_out_rows, trained
from benchmarks.report import machine, write
from sam_attribution.diagnosis import unrolled_scores
from sam_attribution.problem import FunctionalRun, FunctionalTraining

PARTS = {"a half": 2, "a quarter": 4, "an eighth": 8}


def sweep(problem, queries, training, factor=1.0):
    """Scores of the recorded states by the steps of `training`, after each step backwards.

    No check that the steps lead where training went: those of a rounded network do not.
    """
    states = map(training.state, problem.path.states_backwards(exact=True))
    state = next(states)
    cotangent = queries.cotangent(state.params, state.buffers)
    scores = torch.zeros(len(problem.y))
    for number, before in zip(reversed(range(training.n_steps)), states, strict=True):
        step = training.step(number)
        product = step.vjp(before, cotangent)
        for sensitivity in product.sensitivities:
            along = problem.row_loss.along(
                sensitivity.output, sensitivity.tangents.movedim(0, -1), problem.y[step.batch.rows]
            )
            scores.index_add_(0, step.batch.rows, -along[:, 0] / step.batch.weight)
        yield scores
        cotangent = product.before._replace(
            params=factor * product.before.params,
            memory=tuple(None if m is None else factor * m for m in product.before.memory),
        )


def last(steps):
    *_, scores = steps
    return scores


def rounded(problem, beta):
    """The problem with a softplus for every ReLU."""
    module = copy.deepcopy(problem.module)
    for number, part in enumerate(module):
        if isinstance(part, nn.ReLU):
            module[number] = nn.Softplus(beta).eval()
    return replace(problem, module=module)


def mean_over_starts(problem, queries, length, n_starts=8):
    training = FunctionalTraining(problem)
    start = training.start()
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(n_starts):
        noise = torch.randn(start.params.shape, generator=generator)
        moved = start.params + length * start.params.norm() / noise.norm() * noise
        run = FunctionalRun(training, start._replace(params=moved))
        total = total + unrolled_scores(training, run.backwards(), queries)[:, 0] / n_starts
    return total


def variants(problem, queries):
    training = FunctionalTraining(problem)
    n_steps = training.n_steps
    stops = {n_steps // part: name for name, part in PARTS.items()}
    for number, scores in enumerate(sweep(problem, queries, training), 1):
        if number in stops:
            yield f"the last steps, {stops[number]}", scores
        if number == n_steps:
            yield "plain", scores
    for name, part in PARTS.items():
        factor = float(np.exp(-part / n_steps))
        yield f"damped, 1/e within {name}", last(sweep(problem, queries, training, factor))
    for beta in (100, 20, 5):
        smooth = FunctionalTraining(rounded(problem, beta))
        yield f"rounded, beta {beta}", last(sweep(problem, queries, smooth))
    for length in (1e-3, 1e-2):
        yield f"eight starts, {length:g} away", mean_over_starts(problem, queries, length)


if __name__ == "__main__":
    torch.set_num_threads(1)
    problem, queries, _ = trained("development", "relu")
    rows = left_out_rows("development", len(problem.y))
    truth = leave_one_out(problem, queries, rows)
    results = []
    for name, scores in variants(problem, queries):
        found = scores[rows].double().numpy()
        results.append({"variant": name} | agreement(found, truth))
        print(results[-1], flush=True)
    write("smoothness_remedies", {"results": results, "machine": machine(SEED)})
