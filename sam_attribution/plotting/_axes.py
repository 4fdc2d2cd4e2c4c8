"""Axes that displays draw on, and the colours and lines they draw with."""

from itertools import cycle

import numpy as np

_COLUMNS = 4
_FLAT = "rectilinear"  # matplotlib's name for the usual projection
# Okabe and Ito, Color Universal Design (2008), without the yellow that is pale on white
BLUE, VERMILLION = "#0072B2", "#D55E00"
_COLOURS = [BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_LINES = ["-", "--", "-.", ":"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<"]
REFERENCE = {"color": "0.35", "linewidth": 1.2}


def axes_for(ax, n_panels, *, size=None, sharex=False):
    """Array of `n_panels` Axes: the given ones, or those of a new figure with one y-axis.

    `size` is the width and height of a new figure in inches; `sharex` gives it one x-axis, too.
    """
    if ax is None:
        return _new_axes(n_panels, size, sharex)
    axes = np.ravel(np.array(ax, dtype=object))
    if len(axes) != n_panels or not all(hasattr(panel, "plot") for panel in axes):
        raise ValueError(f"ax must be {n_panels} matplotlib Axes, one for each panel, got {ax!r}.")
    for panel in axes:
        if (projection := getattr(panel, "name", _FLAT)) != _FLAT:
            raise ValueError(
                f"ax must be Axes with a straight x and y, got projection={projection!r}. Make "
                "them without a projection."
            )
    return axes


def legend_beside(ax):
    """Add a legend, to the right of the Axes if the layout of the figure makes room for it."""
    makes_room = ax.figure.get_layout_engine() is not None
    ax.legend(**({"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if makes_room else {}))


def name_columns(ax, names):
    """Set a tick with a name under each column, slanted where names are long."""
    turned = max(map(len, names)) > 4
    ax.set_xticks(
        range(len(names)),
        names,
        rotation=45 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
        parse_math=False,
    )


def curve_styles():
    """Settings of successive curves; the first 252 all differ."""
    for color, linestyle, marker in zip(
        cycle(_COLOURS), cycle(_LINES), cycle(_MARKERS), strict=False
    ):
        yield {"color": color, "linestyle": linestyle, "marker": marker, "markersize": 5}


def _new_axes(n_panels, size, sharex):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "A display needs matplotlib. Install it, or sam-attribution[plot]."
        ) from error
    n_columns = min(n_panels, _COLUMNS)
    n_rows = -(-n_panels // n_columns)
    width, height = (6.0, 4.2) if n_panels == 1 else (2.7, 3.3)  # of a panel
    _, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=size or (width * n_columns, height * n_rows),
        layout="constrained",
        squeeze=False,
        sharex=sharex,
        sharey=True,
    )
    for spare in axes.flat[n_panels:]:
        spare.remove()
    for lowest in axes.flat[n_panels - n_columns : n_panels]:
        lowest.tick_params(labelbottom=True)
    return axes.ravel()[:n_panels]
