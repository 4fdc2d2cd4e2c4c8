"""Predicted changes of the trained state compared with training again without the rows."""

import numpy as np
import pandas as pd
import torch

from sam_attribution.editing._state import outputs, state_after
from sam_attribution.problem import FunctionalTraining
from sam_attribution.retraining import final_models


def random_groups(candidates, size, n_groups, seed):
    """`n_groups` random draws of `size` of the `candidates`, each without replacement."""
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(candidates), size, replace=False) for _ in range(n_groups))
    return [candidates[torch.as_tensor(np.sort(draw))] for draw in draws]


def verification(queries, groups, step, **options):
    """Compare predicted changes with training again without each group.

    Training has the same start and batches, with the rows of the group at weight 0. `queries` has
    the validation rows as one query, `step` a predicted change of the trained state for each group;
    `options` are those of ``retraining.train_many``. The table has a row per group: `cosine`
    between the predicted change of the attributed parameters and that by training again,
    `length_ratio` of the first to the second, and for both models the rise of the query's value
    and, for a classifier, the accuracy on the validation rows.

    Cost: a training for each group and one more with every row. Changes are measured from the
    latter, so that rounding errors cancel.
    """
    problem = queries.problem
    states = _retrained(problem, groups, options)
    base, _ = next(states)
    before = float(queries.values(problem.params, problem.buffers)[0])
    found = []
    for number, (params, buffers) in enumerate(states):
        of_both = {"edited": state_after(problem, step, number), "retrained": (params, buffers)}
        found.append(
            _agreement(problem, step.params[number], params - base)
            | {f"rise_{name}": float(queries.values(*state)[0]) - before
               for name, state in of_both.items()}
            | {f"accuracy_{name}": _accuracy(queries, *state) for name, state in of_both.items()
               if problem.n_classes is not None}
        )  # fmt: skip
    return pd.DataFrame(found).rename_axis("group")


def _retrained(problem, groups, options):
    """Iterator of final states: with all rows, then without each group."""
    weights = problem.params.new_ones(len(groups) + 1, len(problem.y))
    for row, group in zip(weights[1:], groups, strict=True):
        row[group] = 0.0
    return final_models(FunctionalTraining(problem), weights, **options)


def _agreement(problem, *steps):
    selected = slice(None) if problem.selected is None else problem.selected
    edited, retrained = (step[selected].double() for step in steps)
    lengths = edited.norm() * retrained.norm()
    return {
        "cosine": float(edited @ retrained / lengths),
        "length_ratio": float(edited.norm() / retrained.norm()),
    }


def _accuracy(queries, params, buffers):
    logits = outputs(queries.problem, params, buffers, queries.X)
    logits = queries.problem.row_loss.to_logits(logits)
    return float((logits.argmax(1) == queries.y).double().mean())
