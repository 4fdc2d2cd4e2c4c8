"""Rows of images with given, suggested and clean label, in a frame that says which is right."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "cifar10n_found.png"
WRONG = {"color": "#0072B2", "linestyle": "-"}
RIGHT = {"color": "#D55E00", "linestyle": (0, (3, 2))}
MARKS = {True: ("✓", WRONG), False: ("✗", RIGHT)}
MEANING = {
    True: "✓ the given label is wrong: CIFAR-10 has another one",
    False: "✗ the given label is right: CIFAR-10 has the same one",
}


def draw_rows(found, images):
    """Draw the most suspicious images of every method, a row of images for each."""
    figure = plt.figure(figsize=(9.6, 4.5), layout="constrained")
    share = 100 * found["wrong"] / found["n_rows"]
    figure.suptitle(
        f"The labels that each method suspects most, in {found['n_rows']} images of CIFAR-10N\n"
        f"(people gave the labels, {share:.0f} % are wrong)",
    )
    methods = found["methods"].items()
    *parts, foot = figure.subfigures(len(methods) + 1, 1, height_ratios=[*[1] * len(methods), 0.13])
    for part, (name, method) in zip(parts, methods, strict=True):
        _draw_method(part, name, method, images)
    every = [row for _, method in methods for row in method["rows"]]
    shown = [kind for kind in MARKS if any(_is_wrong(row) == kind for row in every)]
    lines = [Line2D([], [], linewidth=3, **MARKS[kind][1]) for kind in shown]
    foot.legend(lines, [MEANING[kind] for kind in shown], loc="center", ncols=2)
    figure.savefig(PICTURE, dpi=110)


def _draw_method(part, name, method, images):
    n_shown = len(method["rows"])
    part.suptitle(
        f"{name}: {method['wrong']} of these {n_shown} labels are wrong, and "
        f"{method['wrong_of_100']} of the first 100",
        fontweight="bold",
        fontsize="medium",
    )
    axes = part.subplots(1, n_shown)
    for ax, row in zip(axes, method["rows"], strict=True):
        _draw(ax, images[row["row"]], row)
    beside = {"textcoords": "offset points", "ha": "right", "va": "bottom"}
    caption = "given:\nsuggested:\nCIFAR-10:"
    axes[0].annotate(caption, (0, 0), (-20, 0), xycoords=axes[0].xaxis.label, **beside)


def _draw(ax, image, row):
    mark, style = MARKS[_is_wrong(row)]
    ax.imshow(image, interpolation="lanczos")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=3, **style)
    ax.set_title(mark, color=style["color"], fontsize=10, pad=3)
    ax.set_xlabel(f"{row['given']}\n{row['suggested']}\n{row['clean']}", fontsize=10)


def _is_wrong(row):
    return row["given"] != row["clean"]
