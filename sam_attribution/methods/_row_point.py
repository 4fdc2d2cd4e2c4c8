"""The point at which methods of the final model take the rows' gradients."""

from dataclasses import replace

from sam_attribution._validation import StrOptions
from sam_attribution.curvature import SAMPoint

AT = [StrOptions({"w", "w+eps"})]


def row_point(problem, at):
    """The SAMPoint at whose ``perturbed`` row gradients are taken; for "w" as if rho were 0."""
    return SAMPoint(problem if at == "w+eps" else replace(problem, rho=0.0))
