"""The one table from method names to methods."""

from numbers import Real

from sklearn.base import clone

from sam_attribution._seeding import is_seeded
from sam_attribution._warnings import warn
from sam_attribution.fitting import is_frozen
from sam_attribution.linalg import CG, Arnoldi, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    Auto,
    DataInf,
    GradCos,
    GradDot,
    InfluenceFunction,
    IntegratedUnrolled,
    RelatIF,
    SelfInfluence,
    TracIn,
    Unrolled,
    UnrolledSegments,
)
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut

METHODS = {
    "arnoldi": lambda: InfluenceFunction(solver=Arnoldi()),
    "auto": Auto,
    "cg": lambda: InfluenceFunction(solver=CG(), curvature="ggn"),
    "datainf": DataInf,
    "ekfac": EKFAC,
    "fixed-point": FixedPoint,
    "further-training": FurtherTraining,
    "gif": GIF,
    "grad-cos": GradCos,
    "grad-dot": GradDot,
    "hif": HIF,
    "hif-fast": lambda: HIF("fast"),
    "hif-paper": lambda: HIF("paper"),
    "if": InfluenceFunction,
    "integrated-unrolled": IntegratedUnrolled,
    "lissa": lambda: InfluenceFunction(solver=LiSSA(), curvature="ggn"),
    "lissa-h": lambda: InfluenceFunction(solver=LiSSA(), curvature="hessian"),
    "loo": LeaveOneOut,
    "relatif": RelatIF,
    "self-influence": SelfInfluence,
    "tracin": TracIn,
    "trak": TRAK,
    "unrolled": Unrolled,
    "unrolled-segments": UnrolledSegments,
}


def resolved_method(method):
    """Return the method that a name stands for, or a clone of the object."""
    if not isinstance(method, str):
        return clone(method)
    if method not in METHODS:
        raise ValueError(
            f"method must be a Method or one of {sorted(METHODS)}, got {method!r}. "
            "To set a method's parameters pass the object, for example HIF(damping=0.1)."
        )
    return METHODS[method]()


def showing_progress(method, verbose):
    """A method that trains again, with a progress bar over its models if `verbose` is above 0."""
    if verbose and hasattr(method, "verbose"):
        method.set_params(verbose=max(method.verbose, verbose))
    return method


def warn_if_never_resumed(method, estimator, validation, random_state):
    """Warn of a `resume_dir` in which no other fit can find anything, for want of a seed."""
    if getattr(method, "resume_dir", None) is None or random_state is not None:
        return
    drawn = isinstance(validation, Real)  # the split
    if drawn or not (is_frozen(estimator) or is_seeded(estimator)):
        remedy = "on SAMInfluence" if drawn else "on the estimator or SAMInfluence"
        warn(
            "resume_dir cannot find saved models again without a random_state, because every fit "
            f"is a different training. Set random_state=0 {remedy}.",
        )
