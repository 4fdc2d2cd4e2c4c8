"""Numbers that say whether the scores of a trained split can be trusted."""

import numpy as np
import torch
from sklearn.base import is_classifier, is_regressor

from sam_attribution.curvature import SAMPoint
from sam_attribution.diagnosis import (
    extreme_curvature,
    left_out_rows,
    metasmoothness,
    own_influence,
    prediction_errors,
    recorded_scores,
    warn_of_one_prediction,
)
from sam_attribution.methods import PreparedScores


def smoothness(attribution, check):
    """Smoothness of training in the rows' weights, as columns of ``diagnostics_``.

    `check` is "prediction", or one of the neighbours of ``metasmoothness``.
    """
    problem, queries = attribution.problem, attribution.queries
    if attribution.prepared.differentiates_training:
        scores = attribution.query_scores
    else:
        scores = recorded_scores(problem, queries)
    problem, queries = _of_same_run(problem, queries, scores)
    if check == "prediction":
        return prediction_errors(problem, queries, scores)._asdict()
    return {"metasmoothness": metasmoothness(problem, queries, scores, nearby=check)}


def really_left_out(attribution, n_rows):
    """The rows of a split that matter most, left out: a LeftOutRows."""
    problem, scores = attribution.problem, attribution.query_scores
    own = own_influence(problem, attribution.queries)
    _, queries = _of_same_run(problem, attribution.queries, scores)
    judged = torch.as_tensor(attribution.trained.visited, device=scores.device)
    scores = scores.where(judged[:, None], torch.nan)
    return left_out_rows(queries, scores, own, n_rows, attribution.n_jobs)


def _of_same_run(problem, queries, scores):
    """Problem and queries of the run that scores are of: it may have been repeated in float64."""
    if scores.dtype == problem.params.dtype:
        return problem, queries
    problem = problem.in_double_precision()
    return problem, queries.of(problem)


def arrival(problem):
    """Gradient and curvature where training ended, as columns of ``diagnostics_``."""
    curvature, edge = extreme_curvature(problem)
    return {
        "stationarity": SAMPoint(problem).relative_stationarity(),
        "curvature": curvature,
        "edge_of_stability": edge,
    }


def radii(problem, prepared):
    """Radius of SAM's ball in words, as a column of ``diagnostics_``, if it changed in training."""
    known = {} if problem.path is None else {step.rho for step in problem.path.schedule}
    if len(known) < 2:
        return {}
    span = f"{min(known):.3g} to {max(known):.3g}"
    if isinstance(prepared, PreparedScores):  # retraining, whose own docs say what it repeats
        return {"rho": span}
    last = f"the final model has that of the last step, {problem.rho:.3g}"
    return {"rho": f"{span}; {'each step has its own' if prepared.along_training else last}"}


def quality(trained):
    """Quality of the predictions for the validation rows, as columns of ``diagnostics_``.

    Warns if all rows get the same prediction, unless the net is a SAMNet.
    """
    if not (is_classifier(trained.net) or is_regressor(trained.net)):
        return {"validation_loss": -trained.estimator.score(trained.split.X, trained.split.y)}
    predicted, y = trained.predict(trained.split.X), np.asarray(trained.split.y)
    warn_of_one_prediction(predicted, y, trained.problem)
    if trained.problem.n_classes is None:
        return {"validation_r2": _r2(predicted, y)}
    commonest = np.unique(y, return_counts=True)[1].max()
    return {
        "validation_accuracy": float(np.mean(predicted == y)),
        "validation_chance": float(commonest / len(y)),
    }


def _r2(predicted, y):
    """Share of the variance that is explained; NaN if there is none."""
    variance = np.var(y)
    return float(1 - np.mean((y - predicted) ** 2) / variance) if variance else float("nan")
