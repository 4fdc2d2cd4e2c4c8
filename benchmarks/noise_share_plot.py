"""Draw ``benchmarks/results/noise_share.json``.

python -m benchmarks.noise_share_plot
"""

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.wrong_labels.noisy_sets import DEVELOPMENT, JUDGED_ONCE
from benchmarks.wrong_labels.share_table import cases_of, reliability, settings

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "noise_share.png"
COLORS = {
    "none": "#000000",
    "symmetric": "#0072B2",
    "pair": "#009E73",
    "one-sided": "#E69F00",
    "instance": "#D55E00",
    "human": "#CC79A7",
}
PANELS = {
    "share": "MislabelDetector",
    "share, network": "cleanlab, the same network in 5 folds",
    "share, LR": "cleanlab, logistic regression in 5 folds",
}
FEWEST_ROWS = 200  # a tenth with fewer rows says little


def main():
    """True against estimated share, a panel per method, and predicted against observed."""
    cases = cases_of((*DEVELOPMENT, *JUDGED_ONCE))
    lines = settings(cases)
    lines = lines.assign(kind=lines.noise.str.split(r"[ :]", regex=True).str[0])
    shown = [column for column in PANELS if lines[column].notna().any()][:2]
    figure, axes = plt.subplots(2, 2, figsize=(9, 9.4), layout="constrained")
    end = lines[["true", *shown]].max(axis=None) + 0.03
    for ax, column in zip(axes[0], shown, strict=True):
        _shares(ax, lines, column, end)
    calibration, legends = axes[1]
    _reliability(calibration, reliability(cases))
    legends.set_axis_off()
    above = legends.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="upper left", title="noise, upper panels"
    )
    legends.add_artist(above)
    legends.legend(
        *calibration.get_legend_handles_labels(), loc="lower left", title="noise, left panel"
    )
    figure.suptitle(
        f"How many labels are wrong? {len(lines)} settings of {lines.data.nunique()} data sets; "
        "on the line, the estimate is exact"
    )
    figure.savefig(PICTURE, dpi=120)


def _shares(ax, lines, column, end):
    for kind, color in COLORS.items():
        for checked in (False, True):
            some = lines[(lines.kind == kind) & (lines.checked == checked)]
            label = f"{kind}, 200 rows checked" if checked else kind
            style = {"facecolor": "none"} if checked else {"facecolor": color, "alpha": 0.6}
            if len(some):
                ax.scatter(some.true, some[column], 34, edgecolor=color, label=label, **style)
    _square(ax, end)
    ax.set(
        title=PANELS[column],
        xlabel="true share of wrong labels",
        ylabel="estimated share of wrong labels",
    )


def _reliability(ax, tables):
    for (name, table), color in zip(
        tables.items(), ("#0072B2", "#D55E00", "#CC79A7"), strict=False
    ):
        table = table[table.rows >= FEWEST_ROWS]
        ax.plot(table.predicted, table.observed, "o-", color=color, label=name)
    _square(ax, 1)
    ax.set(
        title="probability_wrong_ of MislabelDetector",
        xlabel="predicted probability that a label is wrong",
        ylabel="share of these labels that is wrong",
    )


def _square(ax, end):
    ax.plot([0, end], [0, end], color="0.6", linewidth=1, zorder=0)
    ax.set(xlim=(-0.02, end), ylim=(-0.02, end), aspect="equal")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
