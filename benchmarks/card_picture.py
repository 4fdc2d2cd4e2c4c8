"""The card that chat and social sites show for a link to the documentation.

    python -m benchmarks.card_picture

Writes ``docs/_static/card.png``, 1200 x 630: three digits, one with a wrong label, in the steps
find, fix and retrain.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch
from sklearn.datasets import load_digits

PICTURE = Path(__file__).parents[1] / "docs" / "_static" / "card.png"
DIGITS = [0, 4, 6]
WRONG = {4: 5}  # digit and its wrong label
BLUE, VERMILION, GREEN, INK = "#0072B2", "#D55E00", "#009E73", "#1a1a1a"
STEPS = ["find", "fix", "retrain"]


def label(step, digit):
    """Text under a digit and its colour, in one of the three steps."""
    if digit not in WRONG:
        return str(digit), INK
    if step == "find":
        return f"{WRONG[digit]} ?", VERMILION
    return (f"{WRONG[digit]} → {digit}", BLUE) if step == "fix" else (str(digit), GREEN)


def draw_step(figure, step, left):
    """A row of digits with their labels, the name of the step above."""
    images, digits = load_digits(return_X_y=True)
    figure.text(left + 0.13, 0.475, step, fontsize=30, color=INK, ha="center", weight="bold")
    for place, digit in enumerate(DIGITS):
        ax = figure.add_axes([left + 0.09 * place, 0.24, 0.08, 0.2])
        ax.imshow(images[digits == digit][0].reshape(8, 8), cmap="gray_r")
        text, color = label(step, digit)
        ax.set_xlabel(text, fontsize=24, color=color, labelpad=8)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color=color, linewidth=4 if digit in WRONG else 1)


def main():
    """Draw and save the card."""
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    figure.text(0.05, 0.83, "sam_attribution", fontsize=52, color=INK, weight="bold")
    sentence = "Find mislabelled training data, fix it in a browser, retrain."
    figure.text(0.052, 0.71, sentence, fontsize=27, color="0.3")
    lefts = [0.05, 0.37, 0.69]
    for step, left in zip(STEPS, lefts, strict=True):
        draw_step(figure, step, left)
    for left in lefts[1:]:
        arrow = FancyArrowPatch((left - 0.045, 0.34), (left - 0.008, 0.34), mutation_scale=30)
        figure.add_artist(arrow)
        arrow.set(color="0.5", arrowstyle="-|>", linewidth=3)
    data = "PyTorch and scikit-learn: images, tables, text"
    figure.text(0.05, 0.05, data, fontsize=20, color="0.3")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
