"""Curvature of a problem as linear operators."""

from sam_attribution.curvature._ascent import SAMPoints
from sam_attribution.curvature._gradient_derivative import check_second_derivative
from sam_attribution.curvature._head_hessian import HeadFisher, HeadHessian
from sam_attribution.curvature._hessian import EmpiricalFisher, GaussNewton, Hessian
from sam_attribution.curvature._kronecker import KroneckerCurvature, check_kronecker_layers
from sam_attribution.curvature._loss_checks import check_gauss_newton
from sam_attribution.curvature._many_outputs import check_few_outputs
from sam_attribution.curvature._pseudo_gradients import loss_roots
from sam_attribution.curvature._sam_jacobian import (
    BLOCKS,
    CURVATURES,
    VARIANTS,
    SAMPoint,
    attributed_jacobian,
    has_closed_form,
    sam_jacobian,
)
from sam_attribution.curvature._unsupported_layers import in_words
