"""Colours that colour-blind readers tell apart, with lines and markers for print."""

from itertools import cycle

# Okabe and Ito, Color Universal Design (2008), without the yellow that is pale on white
BLUE, VERMILLION = "#0072B2", "#D55E00"
_COLOURS = [BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_LINES = ["-", "--", "-.", ":"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<"]
REFERENCE = {"color": "0.35", "linewidth": 1.2}


def curve_styles():
    """Settings of one curve after the other, no two of the first 252 alike."""
    for color, linestyle, marker in zip(
        cycle(_COLOURS), cycle(_LINES), cycle(_MARKERS), strict=False
    ):
        yield {"color": color, "linestyle": linestyle, "marker": marker, "markersize": 5}
