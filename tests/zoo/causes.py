"""Why a draw may be refused: a pattern of the message, and the draws that it may be said of."""

import re
from fnmatch import fnmatchcase

_MEANINGLESS = (
    "random in evaluation", "noisy in evaluation", "coupled by mean", "coupled by max",
)  # fmt: skip
_FUNCTIONAL = ("unrolled", "integrated")
_RETRAINS = (*_FUNCTIONAL, "loo", "further")
_ALONG = ("gif", "tracin", "self-influence", "unrolled", "integrated", "loo", "trak, checkpoints")
_INVERSES = (
    "arnoldi", "cg", "hif", "if", "lissa", "relatif", "ekfac", "kfac", "trak", "fixed-point",
)  # fmt: skip
_HEAD_IS_NOT_LAST = (
    "head twice", "head's weight twice", "head scaled", "tied", "temperature", "frozen head",
    "sometimes used", "loop over rows", "branching", "weight data", "frozen", "parametrised",
    "head's input changed by a hook", "output object", "checkpointed head", "lazy", "frozen biases",
)  # fmt: skip


def cause_of(draw, text):
    """Name of the cause that a message gives, None if there is none that holds for the draw."""
    for name, pattern, holds in CAUSES:
        if re.search(pattern, text) and holds(draw):
            return name
    return None


def means_nothing(draw):
    """True for modules of which any answer would mean nothing."""
    return draw.twist in _MEANINGLESS


def _trainable(draw):
    """Names of the trainable parameters of the twin, without the softmax around it."""
    module = draw.kind.module(draw.seed, plain=True)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    return [name.removeprefix("0.") if draw.kind.probabilities else name for name in names]


def _matches_nothing(draw):
    pattern = f"*{draw.parameters}"
    return not any(fnmatchcase(name, pattern) for name in _trainable(draw))


def _method(*starts):
    return lambda draw: draw.method.startswith(starts)


def _optimizer(*names):
    return lambda draw: draw.optimizer in names


def _twist(*starts):
    return lambda draw: draw.twist.startswith(starts)


def _body(*parts):
    return lambda draw: any(part in draw.body for part in parts)


def _criterion(*names):
    return lambda draw: draw.criterion in names


_NO_FUNCTION = ("rmsprop", "adagrad", "adamax", "signs", "amsgrad")

CAUSES = [
    ("module without trainable parameters", r"no parameter to train",
     lambda draw: not _trainable(draw)),
    ("lazy module", r"[Ll]azy", _twist("lazy")),
    ("one output for two classes", r"one logit per class|BCEWithLogitsLoss", _criterion("bce")),
    ("output that is no tensor", r"must return a tensor|got Output|got tuple",
     _twist("output object", "tuple")),
    ("no states recorded", r"trajectory=None",
     lambda draw: draw.trajectory is None and draw.method.startswith(_ALONG)),
    ("criterion without a mean", r"reduction", _criterion("sum", "none", "no reduction")),
    ("integer class weights", r"weight", _criterion("integer class weights")),
    ("maximize", r"maximize", _optimizer("maximize")),
    ("parameters match nothing", r"parameters must be \"all\", \"head\" or patterns",
     _matches_nothing),
    ("gradients changed by a callback", r"otherwise than by a factor|cannot differentiate",
     lambda draw: draw.clipping == "value"),
    ("effective rates", r'rates="effective" is known',
     lambda draw: "effective" in draw.method and draw.optimizer in _NO_FUNCTION),
    ("optimizer without a functional form", r"optimizer's step as a function|amsgrad",
     lambda draw: draw.method.startswith(_FUNCTIONAL) and draw.optimizer in _NO_FUNCTION),
    ("merged steps of another optimizer", r"merges steps of torch.optim.SGD",
     lambda draw: draw.method.startswith("unrolled-segments")
     and draw.optimizer in ("adam", "adamw", *_NO_FUNCTION)),
    ("rows coupled in training", r"couples the rows of a batch in training",
     lambda draw: draw.method.startswith("unrolled-segments") and "norm" in draw.body),
    ("head that is not last", r'parameters="head" needs',
     lambda draw: draw.parameters == "head"
     and (draw.twist in _HEAD_IS_NOT_LAST or draw.kind.probabilities)),
    ("layer without Kronecker factors",
     r"EK-FAC has no rule|that have submodules|belong to embeddings|are not called in",
     _method("ekfac", "kfac")),
    ("parameter without gradients", r"no row has a gradient in", _method("datainf")),
    ("margin of a regression", r"margin",
     lambda draw: draw.n_classes == 0 and draw.evaluation == "margin"),
    ("own loss has no other evaluation", r"Leave evaluation at",
     lambda draw: draw.method.startswith("self-influence") and draw.evaluation != "loss"),
    ("self-influence cannot score queries", r"cannot score queries", _method("self-influence")),
    ("reading another way", r"how must be \"auto\"",
     lambda draw: draw.method.startswith((*_RETRAINS, "fixed-point"))),
    ("rows that went through training together", r"cannot be computed from row gradients",
     lambda draw: draw.reading == "row-gradients" and "every step" in draw.method),
    ("parameters of retraining", r'parameters must be "all" for unrolled|moves every parameter',
     lambda draw: draw.parameters != "all"),
    ("scores of other rows", r"in no batch has no score|scores only the rows of fit",
     lambda draw: draw.reading in ("score samples", "transform")),
    ("no fixed point", r"[Nn]o fixed point|below the rounding|is not part of the loss",
     _method("fixed-point")),
    ("singular curvature", r"singular|cannot invert|Raise the ridge|damping", _method(*_INVERSES)),
    ("curvature not positive", r"is not convex in", _criterion("focal", "multi margin")),
    ("no curvature", r"is linear in the module's output", _criterion("l1")),
    ("spectrum in the left half plane", r"positive real|eigenvalues near 0",
     _method("arnoldi", "lissa", "cg")),
    ("batch norm without statistics", r"without running statistics", _body("untracked")),
    ("buffer moved in training", r"changes the buffer",
     lambda draw: draw.method.startswith(_FUNCTIONAL)
     and (draw.twist.startswith("counting") or "spectral" in draw.body or "tracked" in draw.body)),
    ("cumulative batch norm", r"momentum=None|cumulative", _body("cumulative")),
    ("gradient in some steps only", r"no gradient in some steps", _twist("sometimes used")),
    ("random in evaluation", r"its forward pass is random", _twist("random", "noisy")),
    ("rows coupled in evaluation", r"couples the rows", _twist("coupled")),
    ("activation checkpointing", r"checkpoint", _twist("checkpointed")),
    ("DataParallel", r"DataParallel", _twist("data parallel")),
    ("sparse gradients", r"sparse", _body("sparse")),
    ("embedding with max_norm", r"max_norm|changes its weight", _body("max norm")),
    ("embedding with scale_grad_by_freq", r"scale_grad_by_freq", _body("frequency")),
    ("autograd function of the user", r"once_differentiable|cannot be|Function", _twist("own")),
    ("old weight_norm", r"weight_norm", _body("old weight norm")),
    ("no second derivative", r"second derivative|cannot be",
     lambda draw: draw.criterion == "multi margin" or "embedding bag" in draw.body),
    ("stop-gradient", r"a wrong second derivative of module", _twist("detached", "weight data")),
    ("diverged", r"not finite|The loss is|unstable", lambda draw: True),
]  # fmt: skip
