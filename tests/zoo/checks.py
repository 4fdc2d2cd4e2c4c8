"""The outcome of a draw: equal to the explicit computation, refused by name, or unexplained."""

import copy
import traceback
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from tests.zoo.causes import cause_of, means_nothing
from tests.zoo.explicit import Explicit, NotChecked
from tests.zoo.oracle import expected
from tests.zoo.retraining import NotSmooth
from tests.zoo.settings import METHODS, ROWS

RETRAINS = (LeaveOneOut, FurtherTraining, FixedPoint)
DERIVES = ("unrolled", "integrated-unrolled")
# relative to the largest score; float64 answers of differences have three digits less
TOLERANCE = {"float32": 1e-3, "float64": 1e-8}
LOOSE = 0.05  # a tolerance above this says that the question is too badly conditioned to check


@dataclass(frozen=True)
class Outcome:
    """`kind` is "equal", "refused", "said", "not checked" or "unexplained"; `detail` a text."""

    kind: str
    detail: str = ""


class Differs(Exception):
    """The package's answer is another than the explicit one; the text says by how much."""


def outcome(draw):
    """Train, ask and compare; never raises."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return _outcome(draw, said)
        except Differs as error:
            return Outcome("unexplained", f"differs: {error}")
        except (NotChecked, NotSmooth) as error:
            return Outcome("not checked", type(error).__name__ + f" {error}")


def _outcome(draw, said):
    net, data = draw.net(), draw.data()
    X, y, weight, X_val, y_val = data
    before = copy.deepcopy(net.module.state_dict()), torch.get_rng_state(), np.random.get_state()
    method = METHODS[draw.method]()
    influence = SAMInfluence(
        net,
        method=method,
        validation=ValidationData(X_val, y_val),
        evaluation=draw.evaluation,
        parameters=draw.given_parameters(),
        batch_size=draw.rows_at_once,
        random_state=0,
    )
    try:
        influence.fit(X, y, sample_weight=weight)
        answers = _readings(influence, draw, data)
    except Exception as error:
        return _refusal(draw, error)
    if means_nothing(draw):
        raise Differs("answered, though rows have no outputs of their own")
    _check_untouched(net, before)
    return _compared(draw, influence, method, data, answers, said)


def _refusal(draw, error):
    text = str(error).replace("\n", " ")
    line = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{line.filename.rpartition('sam_attribution/')[2]}:{line.lineno}"
    if not isinstance(error, ValueError | TypeError):
        return Outcome("unexplained", f"{type(error).__name__}: {text[:300]} ({where})")
    cause = cause_of(draw, text)
    if cause is None:
        return Outcome("unexplained", f"{type(error).__name__}: {text[:300]} ({where})")
    return Outcome("refused", cause)


def _readings(influence, draw, data):
    """What else is asked of the fitted object: pairs of arrays that should agree, by name."""
    X, y, weight, X_val, y_val = data
    scores = influence.scores_
    if draw.reading in ("tangents", "row-gradients"):
        if draw.method.startswith(("grad-cos", "self-influence")):
            return {}
        return {"mean": (influence.attribute(X_val, y_val, how=draw.reading).mean(0), scores)}
    if draw.reading == "transform" and hasattr(influence, "transform_train_"):
        table = influence.transform_train_
        return {"transform_train_": (table[np.arange(len(y)), y], scores)}
    has_it = hasattr(influence, "score_samples")
    if (
        draw.reading == "score samples"
        and has_it
        and weight is None
        and "every step" not in draw.method
    ):
        if draw.method in ("unrolled", "unrolled, checked", "hif, batches"):
            return {}
        return {"score_samples": (influence.score_samples(X, y), scores)}
    if draw.reading == "self-influence":
        return {"own": influence.self_influence()}
    return {}


def _check_untouched(net, before):
    state, torch_stream, numpy_stream = before
    for name, value in net.module.state_dict().items():
        if not torch.equal(value, state[name]) and "Uninitialized" not in type(value).__name__:
            raise Differs(f"the given module's {name} was changed")
    if not torch.equal(torch.get_rng_state(), torch_stream):
        raise Differs("torch's global stream was changed")
    if not np.array_equal(np.random.get_state()[1], numpy_stream[1]):
        raise Differs("numpy's global stream was changed")


def _compared(draw, influence, method, data, answers, said):
    found = influence.scores_
    if not isinstance(method, RETRAINS) and not np.isfinite(found).all():
        raise Differs(f"{np.isnan(found).sum()} scores of trained rows are NaN")
    tolerance = TOLERANCE[draw.dtype]
    own = answers.pop("own", None)
    for name, (part, scores) in answers.items():
        _check_close(name, part, scores, 100 * tolerance)
    if any(issubclass(each.category, ConvergenceWarning) for each in said):
        return Outcome("said", "not converged")
    if any("Training repeated" in str(each.message) for each in said):
        return Outcome("said", "training is not repeated to rounding")
    if draw.method == "further-training" and draw.body == "transformer, dropout":
        return Outcome("not checked", "masks of its own")
    explicit = Explicit(draw, influence.estimator_, data)
    given = influence.diagnostics_.iloc[0].to_dict()
    wanted, condition = expected(explicit, method, given)
    eps = torch.finfo(getattr(torch, draw.dtype)).eps
    tolerance = max(tolerance, 100 * eps * condition)
    if draw.method.partition(",")[0] in DERIVES:
        tolerance = max(tolerance, 2e-2 if draw.dtype == "float32" else 2e-3)
    if tolerance > LOOSE:
        return Outcome("not checked", "badly conditioned")
    wanted = wanted.detach().numpy()
    asked = np.isfinite(wanted)
    if isinstance(method, RETRAINS) and not np.array_equal(np.isfinite(found), asked):
        raise Differs("NaN for other rows than those not asked about")
    floor = 1e-5 if isinstance(method, RETRAINS) and draw.dtype == "float32" else 0.0
    _check_close("scores", found[asked], wanted[asked], tolerance, floor)
    if own is not None:
        _check_own(draw, explicit, method, given, own, tolerance)
    return Outcome("equal")


def _check_own(draw, explicit, method, given, own, tolerance):
    if draw.method.startswith("self-influence"):
        return
    explicit.own_row = k = ROWS[1]
    wanted = expected(explicit, method, given)[0][[k]].detach().numpy()
    floor = tolerance * float(np.nanmax(np.abs(own)))
    _check_close(f"self-influence of {k}", own[[k]], wanted, tolerance, floor)


def _check_close(name, found, wanted, tolerance, floor=0.0):
    size = np.nanmax(np.abs(wanted))
    off = np.nanmax(np.abs(found - wanted))
    if not off <= tolerance * size + floor + 1e-14:
        raise Differs(f"{name} by {off / max(size, 1e-300):.1e} of {size:.1e} ({tolerance:.0e})")
