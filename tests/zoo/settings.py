"""One draw of the zoo: a module, a training and a question, all from one integer."""

import math
import re
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution import SAMClassifier, SAMRegressor
from sam_attribution.linalg import CG, GMRES, Arnoldi, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
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
from sam_attribution.perturbation import Adaptive, Perturbation, PNorm
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from tests.zoo.modules import BODIES, TWISTS, Kind, labels, rows

SEED = 3  # of methods that draw
ROWS = (1, 5, 8)  # that retraining leaves out

METHODS = {
    "arnoldi": lambda: InfluenceFunction(solver=Arnoldi()),
    "cg": lambda: InfluenceFunction(solver=CG(tol=1e-10), curvature="ggn", damping=0.1),
    "datainf": DataInf,
    "datainf, w+eps": lambda: DataInf(at="w+eps", damping=0.05),
    "ekfac": lambda: EKFAC(random_state=SEED),
    "ekfac, w+eps": lambda: EKFAC(at="w+eps", damping=0.05, random_state=SEED),
    "kfac": lambda: EKFAC(corrected=False, damping=0.1, random_state=SEED),
    "fixed-point": lambda: FixedPoint(rows=list(ROWS), max_iter=15),
    "further-training": lambda: FurtherTraining(
        n_epochs=1, n_seeds=1, rows=list(ROWS), random_state=SEED
    ),
    "gif": GIF,
    "gif, 3 states": lambda: GIF(n_checkpoints=3),
    "gif, every step": lambda: GIF(n_checkpoints=None),
    "gif, checkpoint": lambda: GIF(query="checkpoint", n_checkpoints=2),
    "gif, effective": lambda: GIF(rates="effective", n_checkpoints=3),
    "gif, effective, every step": lambda: GIF(rates="effective", n_checkpoints=None),
    "grad-cos": GradCos,
    "grad-cos, w+eps": lambda: GradCos(at="w+eps"),
    "grad-dot": GradDot,
    "grad-dot, w+eps": lambda: GradDot(at="w+eps"),
    "hif": HIF,
    "hif, damped": lambda: HIF(damping=1.0),
    "hif, batches": lambda: HIF(damping=1.0, ascent="batch"),
    "hif, ggn": lambda: HIF(damping=0.1, curvature="ggn"),
    "hif, fisher": lambda: HIF(damping=0.1, curvature="fisher"),
    "hif, gmres": lambda: HIF(damping=1.0, solver=GMRES(tol=1e-10, max_iter=500)),
    "hif, not stationary": lambda: HIF(damping=1.0, stationary=False),
    "hif-fast": lambda: HIF("fast"),
    "hif-fast, damped": lambda: HIF("fast", damping=0.3),
    "hif-paper": lambda: HIF("paper", damping=1.0),
    "if": InfluenceFunction,
    "if, layers": lambda: InfluenceFunction(damping=0.3, blocks="layer"),
    "if, w+eps": lambda: InfluenceFunction(damping=0.3, at="w+eps"),
    "integrated-unrolled": lambda: IntegratedUnrolled(n_groups=4, random_state=SEED),
    "lissa": lambda: InfluenceFunction(
        solver=LiSSA(n_terms=400, random_state=SEED), curvature="ggn", damping=0.5
    ),
    "loo": lambda: LeaveOneOut(rows=list(ROWS)),
    "relatif": RelatIF,
    "relatif, parameters": lambda: RelatIF(InfluenceFunction(damping=0.3), normalize="parameters"),
    "self-influence": SelfInfluence,
    "self-influence, w+eps": lambda: SelfInfluence(n_checkpoints=2, at="w+eps"),
    "tracin": TracIn,
    "tracin, w+eps": lambda: TracIn(n_checkpoints=4, at="w+eps"),
    "tracin, every step": lambda: TracIn(n_checkpoints=None),
    "trak": lambda: TRAK(random_state=SEED),
    "trak, no projection": lambda: TRAK(proj_dim=None, ridge=0.1, weighted=True),
    "trak, checkpoints": lambda: TRAK(n_checkpoints=2, random_state=SEED),
    "unrolled": lambda: Unrolled(check=None),
    "unrolled, checked": Unrolled,
    "unrolled-segments": UnrolledSegments,
    "unrolled-segments, all steps": lambda: UnrolledSegments(n_merged=1),
}


class Focal(nn.Module):
    """A criterion of the user's, with a reduction."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, logits, y):
        loss = nn.functional.cross_entropy(logits, y, reduction="none")
        loss = (1 - torch.exp(-loss)) ** 2 * loss
        return loss.mean() if self.reduction == "mean" else loss


class NoReduction(nn.Module):
    def forward(self, logits, y):
        return nn.functional.cross_entropy(logits, y)


def weights_of_classes(n_classes):
    return torch.linspace(0.5, 2.0, n_classes)


# name -> (class, arguments for a number of classes)
CRITERIA = {
    "cross-entropy": (nn.CrossEntropyLoss, lambda c: {}),
    "smoothed": (nn.CrossEntropyLoss, lambda c: {"label_smoothing": 0.2}),
    "class weights": (nn.CrossEntropyLoss, lambda c: {"weight": weights_of_classes(c)}),
    "smoothed, class weights": (
        nn.CrossEntropyLoss, lambda c: {"label_smoothing": 0.1, "weight": weights_of_classes(c)},
    ),
    "integer class weights": (
        nn.CrossEntropyLoss, lambda c: {"weight": torch.arange(1, c + 1)},
    ),
    "nll": (nn.NLLLoss, lambda c: {}),
    "nll, class weights": (nn.NLLLoss, lambda c: {"weight": weights_of_classes(c)}),
    "multi margin": (nn.MultiMarginLoss, lambda c: {}),
    "focal": (Focal, lambda c: {}),
    "no reduction": (NoReduction, lambda c: {}),
    "sum": (nn.CrossEntropyLoss, lambda c: {"reduction": "sum"}),
    "none": (nn.CrossEntropyLoss, lambda c: {"reduction": "none"}),
    "bce": (nn.BCEWithLogitsLoss, lambda c: {}),
    "mse": (nn.MSELoss, lambda c: {}),
    "l1": (nn.L1Loss, lambda c: {}),
    "huber": (nn.HuberLoss, lambda c: {"delta": 0.7}),
    "smooth l1": (nn.SmoothL1Loss, lambda c: {}),
}  # fmt: skip
OF_CLASSES = [name for name in CRITERIA if name not in ("mse", "l1", "huber", "smooth l1")]
OF_NUMBERS = ["mse", "l1", "huber", "smooth l1", "sum", "none"]

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, 0.1, {}),
    "momentum": (torch.optim.SGD, 0.05, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, 0.05, {"momentum": 0.8, "nesterov": True}),
    "dampened": (torch.optim.SGD, 0.1, {"momentum": 0.8, "dampening": 0.3}),
    "decay": (torch.optim.SGD, 0.1, {"weight_decay": 0.1}),
    "momentum, decay": (torch.optim.SGD, 0.05, {"momentum": 0.9, "weight_decay": 0.05}),
    "foreach": (torch.optim.SGD, 0.1, {"foreach": True, "momentum": 0.5}),
    "adam": (torch.optim.Adam, 0.02, {"weight_decay": 0.01}),
    "amsgrad": (torch.optim.Adam, 0.02, {"amsgrad": True}),
    "adamw": (torch.optim.AdamW, 0.02, {"weight_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, 0.01, {}),
    "adagrad": (torch.optim.Adagrad, 0.02, {}),
    "adamax": (torch.optim.Adamax, 0.02, {}),
    "maximize": (torch.optim.SGD, 0.02, {"maximize": True}),
}


class Signs(torch.optim.Optimizer):
    """An optimizer from outside torch.optim."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad.sign(), alpha=group["lr"])
        return loss


OPTIMIZERS["signs"] = (Signs, 0.01, {})

SCHEDULES = {
    "constant": None,
    "steps": lambda n: LRScheduler("StepLR", step_size=1, gamma=0.5),
    "cosine": lambda n: LRScheduler("CosineAnnealingLR", T_max=4),
    "each step": lambda n: LRScheduler("CosineAnnealingLR", T_max=9, step_every="batch"),
    "one cycle": lambda n: LRScheduler(OneCycleLR, max_lr=0.1, total_steps=60, step_every="batch"),
}


class ValueClipping(Callback):
    """Clips every entry of the gradient."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        nn.utils.clip_grad_value_([p for _, p in named_parameters], 0.05)


CLIPPINGS = {
    "none": list,
    "norm": lambda: [GradientNormClipping(0.3)],
    "value": lambda: [ValueClipping()],
}


class EpsAlone(Perturbation):
    """A user's perturbation: its products come from autodiff."""

    def eps(self, w, g, rho):
        return rho * torch.tanh(g) / (1 + w * w)


PERTURBATIONS = {
    "l2": "l2",
    "linf": "linf",
    "adaptive": "adaptive",
    "p=1.5": PNorm(1.5),
    "p=3": PNorm(3),
    "p=inf": PNorm(math.inf),
    "eta": Adaptive(eta=0.1),
    "eps alone": EpsAlone(),
}
PARAMETERS = ("all", "head", "head.*", "*bias*", "body*", "nothing*")
READINGS = ("none", "tangents", "row-gradients", "transform", "score samples", "self-influence")


@dataclass(frozen=True)
class Draw:
    """Everything that one check of the zoo is made of, by name."""

    seed: int
    body: str = "tanh"
    twist: str = "none"
    n_classes: int = 3  # 0 is a regression
    n_rows: int = 16
    criterion: str = "cross-entropy"
    optimizer: str = "sgd"
    schedule: str = "constant"
    clipping: str = "none"
    rho: float = 0.1
    perturbation: str = "l2"
    epochs: int = 2
    batch_size: int = 6
    dtype: str = "float64"
    trajectory: object = 10
    weighted: bool = False
    parameters: str = "all"
    evaluation: str = "loss"
    rows_at_once: object = "auto"
    method: str = "gif"
    reading: str = "none"

    @property
    def kind(self):
        n_outputs = 1 if self.n_classes == 0 or self.criterion == "bce" else self.n_classes
        return Kind(self.body, self.twist, n_outputs, self.criterion.startswith("nll"))

    def differences(self):
        """The settings that are not those of ``Draw(seed)``, a dict."""
        plain = asdict(Draw(self.seed))
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    def data(self):
        """Training rows, targets, weights, validation rows and targets."""
        rng = np.random.default_rng([self.seed, 1])
        X, X_val = (rows(self.kind.input, n, rng) for n in (self.n_rows, 6))
        if self.n_classes:
            y, y_val = (labels(n, self.n_classes, rng) for n in (self.n_rows, 6))
        else:
            y, y_val = rng.normal(size=self.n_rows), rng.normal(size=6)
        weight = rng.uniform(0.5, 2, self.n_rows) if self.weighted else None
        return X, y, weight, X_val, y_val

    def net(self):
        """The estimator, not fitted."""
        optimizer, lr, options = OPTIMIZERS[self.optimizer]
        criterion, arguments = CRITERIA[self.criterion]
        schedule = SCHEDULES[self.schedule]
        callbacks = CLIPPINGS[self.clipping]()
        if schedule is not None:
            callbacks.append(schedule(self.epochs))
        estimator = SAMClassifier if self.n_classes else SAMRegressor
        return estimator(
            self.kind.module(self.seed),
            rho=self.rho,
            perturbation=PERTURBATIONS[self.perturbation],
            trajectory=self.trajectory,
            random_state=self.seed,
            dtype=self.dtype,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=self.epochs,
            batch_size=self.batch_size,
            callbacks=callbacks,
            **{f"optimizer__{name}": value for name, value in options.items()},
            **{f"criterion__{name}": v for name, v in arguments(self.n_classes).items()},
        )

    def given_parameters(self):
        """The argument `parameters`: patterns are written for the bare net."""
        if self.parameters in ("all", "head"):
            return self.parameters
        return [f"*{self.parameters}"]

    def attributed(self, name):
        """True if the parameter of that name, in the twin, is attributed; not for "head"."""
        if self.parameters == "all":
            return True
        return re.match(self.parameters.replace(".", r"\.").replace("*", ".*"), name) is not None


def _one(rng, options, usual, share):
    """One of the options: one of the usual ones with a probability of `share`."""
    chosen = usual if rng.random() < share else list(options)
    return chosen[rng.integers(len(chosen))]


def draw(seed):
    """The draw of an integer. Ordinary settings are more likely, so that most come to an answer."""
    rng = np.random.default_rng([seed, 0])
    regression = rng.random() < 0.15
    method = _one(rng, METHODS, (), 0)
    made = Draw(
        seed=seed,
        body=_one(rng, BODIES, ("tanh", "gelu", "relu", "linear"), 0.35),
        twist=_one(rng, TWISTS, ("none",), 0.5),
        n_classes=0 if regression else int(_one(rng, (2, 3, 4), (), 0)),
        n_rows=int(_one(rng, range(12, 21), (), 0)),
        criterion=_one(rng, OF_NUMBERS, ("mse",), 0.6)
        if regression
        else _one(rng, OF_CLASSES, ("cross-entropy",), 0.6),
        optimizer=_one(rng, OPTIMIZERS, ("sgd", "momentum", "decay"), 0.6),
        schedule=_one(rng, SCHEDULES, ("constant",), 0.7),
        clipping=_one(rng, CLIPPINGS, ("none",), 0.8),
        rho=float(_one(rng, (0.0, 0.01, 0.05, 0.1, 0.3), (), 0)),
        perturbation=_one(rng, PERTURBATIONS, ("l2",), 0.6),
        epochs=int(_one(rng, (1, 2, 3), (2,), 0.5)),
        batch_size=int(_one(rng, (4, 5, 8, -1), (6,), 0.5)),
        dtype=_one(rng, ("float32", "float64"), ("float64",), 0.4),
        trajectory=_one(rng, (1, 3, "all", None), (10,), 0.7),
        weighted=bool(rng.random() < 0.25),
        parameters=_one(rng, PARAMETERS, ("all",), 0.65),
        evaluation=_one(rng, ("margin",), ("loss",), 0.75),
        rows_at_once=_one(rng, (1, 5), ("auto",), 0.7),
        method=method,
        reading=_one(rng, READINGS, ("none",), 0.3),
    )
    return _sensible(made)


def _sensible(made):
    """The draw with what its method needs in most cases, so that not all are refused alike."""
    if made.method.startswith(("unrolled", "integrated", "loo", "further")) and made.seed % 4:
        made = replace(made, parameters="all")
    if made.n_classes == 0 and made.seed % 8:
        made = replace(made, evaluation="loss")
    if made.method == "fixed-point" and made.seed % 4:  # for convex problems
        made = replace(
            made, body="linear", twist="none", optimizer="decay", parameters="all", rho=0.01,
            dtype="float64", epochs=3,
        )  # fmt: skip
    if made.schedule == "one cycle" and made.optimizer in ("adagrad", "signs", "rmsprop"):
        made = replace(made, schedule="constant")  # torch's own schedule wants a momentum
    if made.body == "embedding, sparse":  # torch cannot decay or clip these gradients by value
        made = replace(made, optimizer="sgd", clipping="none")
    if made.twist in ("output object", "tuple") and made.criterion.startswith("nll"):
        made = replace(made, criterion="cross-entropy")  # a softmax cannot take their output
    if made.criterion == "bce":
        made = replace(made, n_classes=2)
    return made
