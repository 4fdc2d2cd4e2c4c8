"""Curvature of a problem as linear operators."""

from sam_attribution.curvature._hessian import GaussNewton, Hessian
from sam_attribution.curvature._sam_jacobian import CURVATURES, VARIANTS, SAMPoint, sam_jacobian

__all__ = ["CURVATURES", "VARIANTS", "GaussNewton", "Hessian", "SAMPoint", "sam_jacobian"]
