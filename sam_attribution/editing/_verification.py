"""Edited states compared with training again without the rows."""

import numpy as np
import pandas as pd
import torch

from sam_attribution._tables import ShownTable
from sam_attribution.editing._report import accuracy, loss_on
from sam_attribution.editing._state import outputs
from sam_attribution.retraining import final_models, recorded_training


def random_groups(candidates, size, n_groups, seed):
    """`n_groups` random draws of `size` of the `candidates`, each without replacement."""
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(candidates), size, replace=False) for _ in range(n_groups))
    return [candidates[torch.as_tensor(np.sort(draw))] for draw in draws]


def verification(queries, groups, edited, **options):
    """Compare edited states with training again without each group.

    Training has the same start and batches, with the rows of the group at weight 0. `queries` has
    the validation rows as one query, `edited` parameters and buffers for each group; `options` are
    those of ``retraining.train_many``. The table has a row per group: `cosine` between the change
    of the attributed parameters by the edit and that by training again, `length_ratio` of the first
    to the second, and for both models the rise of the query's value, for a classifier the accuracy
    on the validation rows, and the mean loss of the group's rows.

    Cost: a training for each group and one more with every row. Changes by training again are
    measured from the latter, so that rounding errors cancel.
    """
    problem = queries.problem
    states = _retrained(problem, groups, options)
    base, _ = next(states)
    before = float(queries.values(problem.params, problem.buffers)[0])
    found = []
    for group, mine, theirs in zip(groups, edited, states, strict=True):
        both = {"edited": mine, "retrained": theirs}
        found.append(
            _agreement(problem, mine[0] - problem.params, theirs[0] - base)
            | {f"rise_{name}": float(queries.values(*state)[0]) - before
               for name, state in both.items()}
            | {f"accuracy_{name}": _accuracy(queries, *state) for name, state in both.items()
               if problem.n_classes is not None}
            | {f"removed_loss_{name}": loss_on(problem, state, group)
               for name, state in both.items()}
        )  # fmt: skip
    return ShownTable(pd.DataFrame(found).rename_axis("group"))


def _retrained(problem, groups, options):
    """Iterator of final states: with all rows, then without each group."""
    weights = problem.params.new_ones(len(groups) + 1, len(problem.y))
    for row, group in zip(weights[1:], groups, strict=True):
        row[group] = 0.0
    program, _ = recorded_training(problem, "auto", "verify")
    return final_models(program, weights, **options)


def _agreement(problem, *steps):
    selected = slice(None) if problem.selected is None else problem.selected
    edited, retrained = (step[selected].double() for step in steps)
    lengths = edited.norm() * retrained.norm()
    return {
        "cosine": float(edited @ retrained / lengths),
        "length_ratio": float(edited.norm() / retrained.norm()),
    }


def _accuracy(queries, params, buffers):
    return accuracy(
        queries.problem, outputs(queries.problem, params, buffers, queries.X), queries.y
    )
