"""Attribution methods: each a recipe for probes."""

from sam_attribution.methods._auto import Auto
from sam_attribution.methods._datainf import DataInf
from sam_attribution.methods._ekfac import EKFAC
from sam_attribution.methods._gif import GIF
from sam_attribution.methods._grad_cos import GradCos
from sam_attribution.methods._grad_dot import GradDot
from sam_attribution.methods._hif import HIF
from sam_attribution.methods._influence_function import InfluenceFunction
from sam_attribution.methods._integrated_unrolled import IntegratedUnrolled
from sam_attribution.methods._method import Method, Prepared, PreparedScores
from sam_attribution.methods._projected import Projected
from sam_attribution.methods._relatif import RelatIF
from sam_attribution.methods._self_influence import SelfInfluence
from sam_attribution.methods._sweep import NO_SWEEP, UnstableTraining, reverse_sweep
from sam_attribution.methods._tracin import TracIn
from sam_attribution.methods._trak import TRAK
from sam_attribution.methods._unrolled import Unrolled
from sam_attribution.methods._unrolled_segments import UnrolledSegments

__all__ = [
    "EKFAC",
    "GIF",
    "HIF",
    "TRAK",
    "DataInf",
    "GradCos",
    "GradDot",
    "InfluenceFunction",
    "IntegratedUnrolled",
    "Method",
    "Prepared",
    "PreparedScores",
    "Projected",
    "RelatIF",
    "SelfInfluence",
    "TracIn",
    "Unrolled",
    "UnrolledSegments",
]
