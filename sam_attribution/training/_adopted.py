"""Record of a network that was trained elsewhere: what is known of it, and no step."""

from sam_attribution._summary import summary_of
from sam_attribution.training._trajectory import DataFingerprint, Trajectory


class Adopted(Trajectory):
    """What is known of a training elsewhere: no step of it, perhaps some checkpoints.

    Attributes
    ----------
    kind : str
        Name of the net's class.
    checkpoints : tuple of Checkpoint
    rho : float
        Radius of the perturbation at the end.
    rate : float or None
        Learning rate at the end.
    """

    def __init__(self, kind, seed, checkpoints, rho, rate):
        super().__init__(None, seed)
        self.kind = kind
        self.checkpoints = checkpoints
        self.rho = rho
        self.rate = rate

    def __repr__(self):
        found = {"kind": self.kind, "checkpoints": len(self.checkpoints), "rho": self.rho}
        return summary_of("Adopted", found | {"rate": self.rate})

    def check_states(self):
        """Raise a ValueError: without its steps, a training cannot be repeated."""
        self.check_replay()

    def check_replay(self, what="replay"):
        raise ValueError(
            f"{self._not_recorded(what)}, or use a method of the final model, such as "
            '"hif" or "further-training", or of checkpoints=, such as "gif" or "tracin".'
        )

    def check_training_again(self, what):
        raise ValueError(
            f"{self._not_recorded(what)}. For the given model, comparison.further_training with "
            "method=FurtherTraining(groups=[rows]) measures the effect of rows."
        )

    def _not_recorded(self, what):
        return (
            f"{what} needs every step of the training, and from_module records none. Train the "
            f"network by {self.kind}(...).fit(X, y)"
        )

    def check_data(self, X, codes, sample_weight=None):
        """Raise a ValueError for other rows than ``from_module`` was given, by what differs."""
        given = DataFingerprint.of(X, codes, sample_weight)
        self.fingerprint.check_same(given, "from_module was given", "from_module")


def is_adopted(net):
    """True for a net that ``from_module`` made."""
    return isinstance(getattr(net, "trajectory_", None), Adopted)
