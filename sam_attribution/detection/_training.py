"""Train on every split and judge its labels, or judge what an influence was computed on."""

from dataclasses import dataclass

from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel
from sam_attribution._validation import take_rows
from sam_attribution.detection._judgement import Judgement
from sam_attribution.influence import net_of, rows_at_net, train
from sam_attribution.problem import problem_from_estimator


@dataclass(frozen=True, eq=False)
class Judged:
    """An estimator that was trained on a split, and the judgement of its labels."""

    estimator: object
    split: object
    judgement: Judgement


def train_and_judge(estimator, split, X, y, sample_weight):
    """Train `estimator` on a split's rows, unless it is frozen, and judge.

    Parameters
    ----------
    estimator : SAMClassifier, Pipeline or FrozenEstimator
    split : influence.Split
    X, y, sample_weight : array-like
        All rows.
    """
    y, rows = y[split.train], take_rows(X, split.train)
    weights = None if sample_weight is None else sample_weight[split.train]
    problem = problem_from_estimator(
        net_of(estimator), train(estimator, rows, y, weights), y, weights
    )
    return Judged(estimator, split, Judgement(problem, *_tensors(estimator, split)))


def judge_splits(estimators, splits, X, y, sample_weight, *, n_jobs, verbose):
    """Train and judge all of them; a progress bar with `verbose` above 0."""
    arguments = (
        {"estimator": e, "split": s, "X": X, "y": y, "sample_weight": sample_weight}
        for e, s in zip(estimators, splits, strict=True)
    )
    judged = in_parallel(train_and_judge, arguments, n_jobs=n_jobs)
    bar = tqdm(
        judged, desc="MislabelDetector", unit="split", total=len(splits), disable=not verbose
    )
    return list(bar)


def judge_runs(runs, splits):
    """Judge the labels of what a fitted SAMInfluence trained on the same splits."""
    return [
        Judged(run.estimator, s, Judgement(run.attribution.problem, *run.tensors(s.X, s.y)))
        for run, s in zip(runs, splits, strict=True)
    ]


def _tensors(estimator, split):
    return net_of(estimator).to_tensors(rows_at_net(estimator, split.X), split.y)
