"""One row per perturbation, solver and method: shared checks run over these tables."""

import math

import torch

from sam_attribution.linalg import CG, GMRES, MINRES, Arnoldi, BiCGSTAB, Direct, LiSSA, Neumann
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    DataInf,
    GradCos,
    GradDot,
    InfluenceFunction,
    RelatIF,
    SelfInfluence,
    TracIn,
    Unrolled,
    UnrolledSegments,
)
from sam_attribution.perturbation import Adaptive, Perturbation, PNorm


class EpsAlone(Perturbation):
    """A user's perturbation: its products come from autodiff."""

    def eps(self, w, g, rho):
        return rho * torch.tanh(g) / (1 + w * w)


PERTURBATIONS = {
    "p=1.5": PNorm(1.5),
    "p=2": PNorm(2),
    "p=3": PNorm(3),
    "p=inf": PNorm(math.inf),
    "adaptive": Adaptive(),
    "eps alone": EpsAlone(),
}

SOLVERS = {
    "arnoldi": Arnoldi(tol=1e-8),
    "bicgstab": BiCGSTAB(tol=1e-11, max_iter=2000),
    "cg": CG(tol=1e-11),
    "cg, preconditioned": CG(tol=1e-11, preconditioner=Arnoldi(n_steps=8, measured=False)),
    "direct": Direct(),
    "gmres": GMRES(tol=1e-11, max_iter=500),
    "minres": MINRES(tol=1e-11),
    "neumann": Neumann(tol=1e-11, max_iter=5000),
}

METHODS = {
    "datainf": DataInf(),
    "ekfac": EKFAC(),
    "gif": GIF(),
    "gif checkpoint": GIF(query="checkpoint", n_checkpoints=4),
    "gif effective": GIF(rates="effective", n_checkpoints=3),
    "gif every step": GIF(n_checkpoints=None),
    "hif": HIF(damping=0.5),
    "hif, batches": HIF(damping=0.5, ascent="batch"),
    "hif paper": HIF("paper", damping=0.5),
    "hif fast": HIF("fast", damping=0.5),
    "hif ggn": HIF(damping=0.5, curvature="ggn"),
    "hif fisher": HIF(damping=0.5, curvature="fisher"),
    "influence function": InfluenceFunction(damping=0.5),
    "influence function, arnoldi": InfluenceFunction(damping=0.5, solver=Arnoldi()),
    "influence function, cg": InfluenceFunction(damping=0.5, solver=CG(tol=1e-11), curvature="ggn"),
    "influence function, lissa": InfluenceFunction(
        damping=0.5, solver=LiSSA(n_terms=200, random_state=0)
    ),
    "influence function, blocks": InfluenceFunction(damping=0.5, blocks="layer"),
    "grad-cos": GradCos(),
    "grad-dot": GradDot(),
    "relatif": RelatIF(InfluenceFunction(damping=0.5)),
    "relatif, ekfac": RelatIF(EKFAC(), normalize="parameters"),
    "self-influence": SelfInfluence(),
    "tracin": TracIn(),
    "trak": TRAK(random_state=0),
    "trak, checkpoints": TRAK(n_checkpoints=2, random_state=0),
    "unrolled": Unrolled(check=None),
    "unrolled segments": UnrolledSegments(),
}

# A row that was in no batch counts in every batch with weight 1/n, which warns
BY_BATCHES = ("gif every step", "hif, batches", "unrolled")

# Not linear in the query: the score against a mean of queries is not the mean of the scores
NO_MEAN_OVER_QUERIES = ("grad-cos", "self-influence")
