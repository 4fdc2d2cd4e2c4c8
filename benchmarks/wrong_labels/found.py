"""Figures of a share of wrong labels, a cut and scores, where the wrong labels are known."""

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import f1_score, roc_auc_score

N_BINS = 10


def figures(share, suspicious, scores, wrong):
    """Estimated share, flagged rows, their F1, and the AUC of the scores (low = suspicious)."""
    found = {"share": float(share), "flagged": float(suspicious.mean())}
    if wrong.any():
        found["f1"] = float(f1_score(wrong, suspicious, zero_division=0))
        found["auc"] = float(roc_auc_score(wrong, -scores))
    return found


def cleanlab_figures(y, proba, wrong):
    """What cleanlab finds by out-of-sample probabilities; its share is that of its issues."""
    issues = find_label_issues(y, proba, n_jobs=1)
    return figures(issues.mean(), issues, get_label_quality_scores(y, proba), wrong)


def reliability(probability, wrong):
    """Rows, sum of probabilities and wrong labels, in each tenth of the probability."""
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    sums = [np.bincount(bins, each, N_BINS).tolist() for each in (probability, wrong)]
    return {"rows": np.bincount(bins, minlength=N_BINS).tolist(), "sums": sums}


def mean_reliability(found):
    """Rows, mean probability and share of wrong labels in each tenth, of many settings together."""
    found = list(found)
    rows = sum(np.array(each["rows"]) for each in found)
    sums = sum(np.array(each["sums"]) for each in found)
    means = np.divide(sums, rows, out=np.full(sums.shape, np.nan), where=rows > 0)
    table = pd.DataFrame({"rows": rows, "predicted": means[0], "observed": means[1]})
    tenths = [f"{i / 10:.1f} to {(i + 1) / 10:.1f}" for i in range(len(rows))]
    return table.set_axis(pd.Index(tenths, name="probability"))


def beside_cleanlab(case, who):
    """A line of a table: error of the share, rows flagged, F1 and AUC of both."""
    (low, high), rate = case["interval"], case["noise_rate"]
    row = {"settings": 1, "covered": low - 0.005 <= rate <= high + 0.005}
    for name in (who, "cleanlab"):
        found = case[name]
        row |= {f"{name} error": abs(found["share"] - rate), f"{name} flagged": found["flagged"]}
        row |= {f"{name} {what}": found[what] for what in ("f1", "auc") if what in found}
    if "f1" in case[who]:
        row["f1 not behind"] = case[who]["f1"] >= case["cleanlab"]["f1"]
    return row


def means(rows):
    """Mean lines by kind of noise, with the number of settings."""
    by_noise = pd.DataFrame(rows).groupby("noise", sort=False)
    found = by_noise.mean().astype(float).round(3)
    return found.assign(settings=by_noise.size())
