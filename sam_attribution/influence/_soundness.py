"""Numbers behind the question whether a run's scores can be trusted."""

from sam_attribution.curvature import SAMPoint
from sam_attribution.diagnosis import (
    extreme_curvature,
    metasmoothness,
    prediction_errors,
    recorded_scores,
)


def smoothness(attribution, check):
    """Whether training is smooth in the rows' weights, as columns of ``diagnostics_``.

    Parameters
    ----------
    attribution : Attribution
    check : {"prediction", "weights", "starts"}
        The latter two are the neighbours of ``metasmoothness``.

    Returns
    -------
    dict
    """
    problem, queries = attribution.problem, attribution.queries
    if attribution.prepared.differentiates_training:
        scores = attribution.query_scores
    else:
        scores = recorded_scores(problem, queries)
    if scores.dtype != problem.params.dtype:  # of the training repeated in float64
        problem = problem.in_double_precision()
        queries = queries.of(problem)
    if check == "prediction":
        return prediction_errors(problem, queries, scores)._asdict()
    return {"metasmoothness": metasmoothness(problem, queries, scores, nearby=check)}


def arrival(problem):
    """Where training came to: gradient and curvature, as columns of ``diagnostics_``."""
    curvature, edge = extreme_curvature(problem)
    return {
        "stationarity": SAMPoint(problem).relative_stationarity(),
        "curvature": curvature,
        "edge_of_stability": edge,
    }
