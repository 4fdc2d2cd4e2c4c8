"""Knowledge of a training before it begins."""

from dataclasses import dataclass

from sam_attribution.training import may_clip


@dataclass(frozen=True)
class TrainingToCome:
    """Settings of a training that decide what can be asked about it afterwards."""

    keeps_states: bool
    may_clip: bool

    @classmethod
    def of(cls, net):
        """That of a net which is not trained yet."""
        return cls(net.trajectory is not None, may_clip(net.callbacks))


def check_keeps_states(problem):
    """Raise a ValueError, before training, if it would keep none of its states."""
    if problem.to_come is not None and not problem.to_come.keeps_states:
        raise ValueError(
            "method needs the training's states, but the estimator has trajectory=None. Set "
            'trajectory="auto", or use a method of the final model such as "hif".'
        )
