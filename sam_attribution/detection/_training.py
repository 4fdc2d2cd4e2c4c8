"""Train on the rows of a split and judge its labels."""

from dataclasses import dataclass

from sam_attribution.detection._judgement import Judgement
from sam_attribution.fitting import TrainedSplit, train_split


@dataclass(frozen=True, eq=False)
class Judged:
    """A trained split, and the judgement of its labels."""

    trained: TrainedSplit
    judgement: Judgement

    @property
    def estimator(self):
        return self.trained.estimator

    @property
    def split(self):
        return self.trained.split


def train_and_judge(estimator, split, X, y, sample_weight, n_jobs):
    """Train `estimator` on a split's rows, unless it is frozen, and judge."""
    return judge(train_split(estimator, split, X, y, sample_weight))


def judge(trained):
    """Judge the labels of a trained split."""
    split = trained.split
    return Judged(trained, Judgement(trained.problem, *trained.tensors(split.X, split.y)))
