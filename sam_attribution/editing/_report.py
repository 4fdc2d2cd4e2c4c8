"""The effect of an edit: on the validation rows, and on the rows that it was made for."""

import numpy as np
import torch

from sam_attribution._rows import part_of
from sam_attribution._warnings import warn
from sam_attribution.editing._state import outputs
from sam_attribution.training import Diverged

_RISE = 0.25  # of a loss, in parts of what it was
_LEAST_RISE = 0.01  # of a classifier's loss, in nats


def edit_report(queries, before, state, rows, codes=None):
    """Numbers about an edited state beside the trained one, a dict.

    `queries` has the validation rows as one query, `before` the outputs of the trained model for
    them; `rows` are the positions of the rows that were removed, or that have labels of `codes`
    now. `step_length` is relative to the weights, `rise_error` the standard error of the `rise`
    over the validation rows. Costs a forward pass over validation rows and two
    over the `rows`.
    """
    problem = queries.problem
    trained = problem.params, problem.buffers
    after = outputs(problem, *state, queries.X)
    if not torch.isfinite(after).all():
        raise Diverged("the edited model's outputs are not finite.")
    values = [queries.evaluation(z, queries.y).double() for z in (before, after)]
    rises_of_rows = values[1] - values[0]
    report = {
        "step_length": float((state[0] - problem.params).norm() / problem.params.norm()),
        "value": float(values[0].mean()),
        "rise": float(rises_of_rows.mean()),
        "rise_error": _standard_error(rises_of_rows),
    }
    if problem.n_classes is not None:
        report |= _pair("accuracy", [accuracy(problem, z, queries.y) for z in (before, after)])
    report |= _pair("validation_loss", [_loss(problem, z, queries.y) for z in (before, after)])
    X, y = part_of(problem.X, rows), problem.y[rows]
    of_rows = [outputs(problem, *s, X) for s in (trained, state)]
    report |= _pair("removed_loss", [_loss(problem, z, y) for z in of_rows])
    if codes is not None:
        new = torch.as_tensor(codes, device=y.device)[rows]
        report |= _pair("relabelled_loss", [_loss(problem, z, new) for z in of_rows])
    return report | {"unseen_loss": _unseen_loss(problem, (after, queries.y), (of_rows[1], y))}


def warn_of_rates(problem, report, lr_factor):
    """Warn if the validation loss :func:`rises` with rates that were not the recorded ones."""
    before, after = report["validation_loss"], report["validation_loss_after"]
    if lr_factor is not None and rises(problem, before, after):
        warn(
            f"the validation loss rose from {before:.3g} to {after:.3g} with the edit. Either "
            "the removed rows were useful, or the learning rates of the repeated steps, with "
            f"lr_factor={lr_factor}, are too large for the model. Compare an edit with "
            "lr_factor=None, which uses the recorded rates."
        )


def rises(problem, before, after):
    """True if a mean loss rises by a quarter, and by 0.01 nats if it is a classifier's."""
    least = 0.0 if problem.n_classes is None else _LEAST_RISE
    return after - before > max(_RISE * abs(before), least)


def _unseen_loss(problem, unseen, rows):
    """Mean loss of rows never seen, with the labels of the removed rows; NaN if none is like them.

    `unseen` and `rows` are outputs and labels. A removed row is compared with the unseen rows of
    the class that the model predicts for it. Without classes it is the loss of the unseen rows.
    """
    (z, y), (z_rows, labels) = unseen, rows
    if problem.n_classes is None:
        return _loss(problem, z, y)
    predicted = problem.row_loss.to_logits(z_rows).argmax(1).to(labels)
    pairs, counts = torch.stack([predicted, labels]).unique(dim=1, return_counts=True)
    losses, weights = [], []
    for kind, label, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        if len(like := z[y == kind]):
            losses.append(_loss(problem, like, y.new_full((len(like),), label)))
            weights.append(count)
    return float(np.average(losses, weights=weights)) if losses else float("nan")


def _standard_error(values):
    """Standard error of the mean; NaN of a single value."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else float("nan")


def _pair(name, values):
    """A number before and after an edit, by name."""
    return dict(zip((name, f"{name}_after"), values, strict=True))


def loss_on(problem, state, rows):
    """Mean loss of training rows at a state."""
    return _loss(problem, outputs(problem, *state, part_of(problem.X, rows)), problem.y[rows])


def accuracy(problem, z, y):
    """Share of rows whose most probable class is theirs."""
    return float((problem.row_loss.to_logits(z).argmax(1) == y).double().mean())


def _loss(problem, z, y):
    return float(problem.row_loss.per_sample(z, y).mean())
