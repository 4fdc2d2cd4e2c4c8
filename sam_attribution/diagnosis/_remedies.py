"""Remedies against scores that cannot be trusted, without those that a run applies already."""

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sam_attribution._row_source import RowSource
from sam_attribution._rows import few_of
from sam_attribution._turns import usual_modes
from sam_attribution.problem import spread_positions
from sam_attribution.training import far_from_unit_size, is_far_above_guessing

SCALE_FEATURES = "scale the features"
SCALE_TARGETS = "scale y"
SMOOTH = "smooth activations (GELU, Tanh)"
AVERAGE = "average pooling in place of max pooling"
LARGER_BATCHES = "larger batches"
DECAYING = "a decaying lr"
WEIGHT_DECAY = "some weight decay"
TRAIN_LONGER = "train longer"
OTHER_RATE = "change lr"
OTHER_RATE_OR_RADIUS = "change lr or rho"
SMALLER_RATE = "a smaller lr"
OTHER_METHOD = 'or use "gif" or "unrolled"'
FOR_SIZE = 'use "unrolled" if the size matters'
PREDICTION = 'diagnose(smoothness="prediction") to measure whether the scores suffer'
EVERY_STEP = "n_checkpoints=None, which takes them as in training"
REFINE = "refine=20, which uses the measured effects of the rows that matter most"
REFINE_AND_SCALE = (  # of a method whose scores have another size than the effects
    "refine=20 with calibrate=True, which uses the measured effects of the rows that matter most"
)
AS_TRAINED = (  # of a network trained elsewhere, in the place of those of a training
    "check that the rows are scaled and normalised as in its training, and that its outputs are in "
    "the order of the classes"
)
MEASURE_ROWS = (  # of such a network, too
    "comparison.further_training with method=FurtherTraining(groups=[rows]), which measures the "
    "effect of rows on the given model"
)
_OF_A_TRAINING = (
    SCALE_FEATURES,
    SCALE_TARGETS,
    TRAIN_LONGER,
    OTHER_RATE,
    OTHER_RATE_OR_RADIUS,
    SMALLER_RATE,
    DECAYING,
    WEIGHT_DECAY,
    OTHER_METHOD,
    FOR_SIZE,
    PREDICTION,
    EVERY_STEP,
)

_ROWS_FOR_LOSS = 1000
_KINKS = ("relu", "hard", "threshold", "shrink", "clamp", "abs", "maximum", "minimum")


@usual_modes()
def done_already(problem):
    """Return the remedies that the run behind a problem has no more use for, or never had.

    Cost: a forward pass over one row, to learn which functions the module calls, and one over up
    to 1000 rows for their loss.
    """
    X = problem.X
    if isinstance(X, RowSource):  # a part of the rows, to read no more
        X = few_of(X, spread_positions(len(X), _ROWS_FOR_LOSS))
    far, called = far_from_unit_size(X, problem.y), _functions_called(problem)
    done = {
        SCALE_FEATURES: "the features" not in far,
        SCALE_TARGETS: "y" not in far,
        SMOOTH: bool(called) and not any(kink in name for name in called for kink in _KINKS),
        AVERAGE: bool(called) and not any("max_pool" in name for name in called),
        WEIGHT_DECAY: bool(np.any(np.asarray(torch.as_tensor(problem.weight_decay).cpu()) > 0)),
    }
    done |= _done_in(problem.path)
    # rows far from unit size start that far off
    done[TRAIN_LONGER] = _stands_still(problem.path) or (not far and _is_far_off(problem))
    if problem.path is not None and not problem.path.has_steps:
        done |= dict.fromkeys(_OF_A_TRAINING, True)
    else:
        done |= {AS_TRAINED: True, MEASURE_ROWS: True}
    return {remedy for remedy, is_done in done.items() if is_done}


def what_helps(remedies, problem):
    """Remedies, of those given, that the run behind a problem has use for, as a sentence."""
    done = done_already(problem)
    found = ", ".join(remedy for remedy in remedies if remedy not in done)
    return f"{found[:1].upper()}{found[1:]}."


def _stands_still(path):
    """True if no step moved the weights, so that more of them would not either."""
    return path is not None and bool(path.schedule) and not np.any(path.learning_rates)


@torch.no_grad()
def _is_far_off(problem):
    """True if the loss is far above that of guessing: training blew up."""
    rows = problem.weights.nonzero()[:_ROWS_FOR_LOSS, 0]
    X, y = problem.batch(rows)
    output = problem.logits(problem.params, problem.buffers, X)
    loss = problem.row_loss.per_sample(output, y).mean()
    criterion = getattr(problem.row_loss, "criterion", None)
    return is_far_above_guessing(float(loss), criterion, problem.n_classes)


def _done_in(path):
    """Remedies that lie in the recorded training."""
    if path is None or not path.schedule:
        return {}
    rates, sizes = path.learning_rates, {len(step.indices) for step in path.schedule}
    return {
        DECAYING: bool((rates[-1] < rates[0]).all()),
        LARGER_BATCHES: sizes == {len(path.visited)},
        WEIGHT_DECAY: path.decays,
    }


def _functions_called(problem):
    """Names of the torch functions in a forward pass; none if it cannot be watched."""
    with torch.no_grad(), _Watch() as watch:
        problem.logits(problem.params, problem.buffers, problem.X[:1])
    return watch.names


class _Watch(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **kwargs or {})
