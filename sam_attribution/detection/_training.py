"""Train on every split and collect the evidence about its labels."""

from dataclasses import dataclass

from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel
from sam_attribution._validation import take_rows
from sam_attribution.detection._split_evidence import SplitEvidence
from sam_attribution.influence import net_of, rows_at_net, train
from sam_attribution.problem import problem_from_estimator


@dataclass(frozen=True, eq=False)
class TrainedSplit:
    """An estimator that was trained on a split, and its problem."""

    estimator: object
    split: object
    problem: object

    def tensors(self, X, y):
        """Rows and label codes as the network takes them."""
        return net_of(self.estimator).to_tensors(rows_at_net(self.estimator, X), y)


def train_and_judge(estimator, split, X, y, sample_weight):
    """Train `estimator` on a split's rows, unless it is frozen, and return a SplitEvidence."""
    y, rows = y[split.train], take_rows(X, split.train)
    weights = None if sample_weight is None else sample_weight[split.train]
    problem = problem_from_estimator(
        net_of(estimator), train(estimator, rows, y, weights), y, weights
    )
    return SplitEvidence(TrainedSplit(estimator, split, problem))


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
