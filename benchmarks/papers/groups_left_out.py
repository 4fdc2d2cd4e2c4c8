"""Every method beside training again without groups of rows, which neither paper has.

    pip install -e ".[benchmarks]" torchvision
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.papers.groups_left_out           (all)
    python -m benchmarks.papers.groups_left_out "mnist, ResNet"                       (some)
    python -m benchmarks.papers.groups_left_out --full                         (the paper's size)

The 1000 training rows are cut into 20 random groups. The truth is the rise of the mean loss of 500
validation rows after training again without a group, from the same start and with the same batches,
by the net's own steps: these trainings amplify the rounding of any others. The prediction is the
sum of the scores of its rows. Beside the methods stands the same truth of a net with another start
and other batches: how well it predicts the effects of the first net shows how much of them is
chance. The verdict is that of ``diagnose`` on the default settings of ``method="unrolled"``, which
``--full`` leaves out. Writes ``benchmarks/results/papers_groups_left_out.json`` after each network
and goes on from there.
"""

import warnings
from functools import partial

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.frozen import FrozenEstimator

from benchmarks.papers.setting.cases import REFUSALS, few_networks, run_missing
from benchmarks.papers.setting.sizes import asked
from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.comparison import leave_one_out
from sam_attribution.linalg import GMRES
from sam_attribution.methods import EKFAC, HIF
from sam_attribution.retraining import LeaveOneOut

N_GROUPS = 20
ANOTHER = "another training"
FEW = GMRES(tol=1e-2, max_iter=5)  # products through the whole network
METHODS = {
    "unrolled": {"method": "unrolled"},
    "unrolled-segments": {"method": "unrolled-segments"},
    "SAM-GIF": {"method": "gif"},
    "SAM-HIF (fast), head": {"method": "hif-fast", "parameters": "head"},
    "HIF, exact, head": {"method": HIF(solver=FEW, damping=0.1), "parameters": "head"},
    "IF, head": {"method": "if", "parameters": "head"},
    "IF with EK-FAC": {"method": EKFAC(unsupported="skip")},
    "TRAK": {"method": "trak"},
    "Grad-Dot": {"method": "grad-dot"},
}


def one_network(size, data, network, seed):
    """Agreement of all methods with training again without groups, on one network."""
    rows = size.draw(data, seed)
    X, y = rows.train
    net = size.classifier(network, rows, seed).fit(X, y)
    known = {"validation": ValidationData(*rows.validation), "random_state": 0}
    groups = np.random.default_rng(seed).permutation(len(y)) % N_GROUPS
    effects, seconds = size.timed(lambda: effects_of(net, rows, groups))
    found = {ANOTHER: agreement(effects_of_another(size, network, rows, groups, seed), effects)}
    net = FrozenEstimator(net)
    for name, settings in size.scored(METHODS).items():
        influence = SAMInfluence(net, **known, **settings)
        try:
            _, taken = size.timed(lambda influence=influence: influence.fit(X, y))
        except REFUSALS as error:
            found[name] = {"refused": str(error)}
            continue
        predicted = np.bincount(groups, influence.scores_, N_GROUPS)
        found[name] = agreement(predicted, effects) | {"seconds": taken}
        if name == "unrolled":
            found[name]["verdict"] = verdict(influence)
    scores = np.random.default_rng(seed).standard_normal(len(y))
    found["random"] = agreement(np.bincount(groups, scores, N_GROUPS), effects)
    return {
        "accuracy": net.score(*rows.test),
        "accuracy_train": net.score(X, y),
        "effects": effects.tolist(),
        "seconds_truth": seconds,
        "methods": found,
    }


def effects_of(net, rows, groups):
    """Rise of the validation loss of a trained net without each group."""
    return leave_one_out(
        FrozenEstimator(net),
        *rows.train,
        ValidationData(*rows.validation),
        method=LeaveOneOut(groups=groups, real_loop=True),
        random_state=0,
    ).group_effects[0]


def effects_of_another(size, network, rows, groups, seed):
    """The same of a net with another start and other batches."""
    another = size.classifier(network, rows, seed + 1).fit(*rows.train)
    return effects_of(another, rows, groups)


def agreement(predicted, effects):
    """Correlations, and the slope of the effects over the predictions."""
    return {
        "spearman": float(spearmanr(predicted, effects).statistic),
        "pearson": float(pearsonr(predicted, effects).statistic),
        "slope": float(np.polyfit(predicted, effects, 1)[0]),
        "right_signs": float((np.sign(predicted) == np.sign(effects)).mean()),
    }


def verdict(influence):
    """Status of every check of ``diagnose``."""
    table = influence.diagnose()
    return dict(zip(table["check"], table["status"], strict=True))


def main():
    """Measure the networks that the JSON lacks."""
    size, names = asked(__doc__)
    warnings.simplefilter("ignore")
    cases = few_networks(names, {}, size)
    run_missing("papers_groups_left_out", size, cases, partial(one_network, size))


if __name__ == "__main__":
    main()
