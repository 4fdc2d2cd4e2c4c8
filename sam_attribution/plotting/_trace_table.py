"""Drawing of TraceDisplay for features and texts: a table."""

from textwrap import fill, wrap

import numpy as np

from sam_attribution._class_names import label_text
from sam_attribution.plotting._axes import axes_for
from sam_attribution.plotting._trace_lines import COLOURS, has_epochs

_WIDEST_TEXT, _MOST_LINES, _MOST_FEATURES = 56, 4, 6
_CHARACTER, _LINE = 0.085, 0.19  # inches at 9 points


def draw_table(ax, lines, rows, names, unit, caption):
    """Draw the table and a caption; return the Axes and the Table."""
    heads, contents = _contents(rows, names)
    score, epochs = f"score ({unit})" if unit else "score", has_epochs(lines)
    heads = ["", "row", "label", score, *["epochs"] * epochs, *heads]
    cells = [
        [line.role, line.name, line.label, line.score, *[line.epochs] * epochs, *content]
        for line, content in zip(lines.itertuples(), contents, strict=True)
    ]
    every = [heads, *cells]
    widths = [max(_width(line[c]) for line in every) + 2 for c in range(len(heads))]
    heights = [1.5 + max(text.count("\n") for text in line) for line in every]
    caption = wrap(caption, sum(widths))
    size = (_CHARACTER * sum(widths) + 0.2, _LINE * (sum(heights) + len(caption)) + 0.2)
    (ax,) = axes_for(ax, 1, size=size)
    ax.set_axis_off()
    ax.text(
        0, -0.01, "\n".join(caption), transform=ax.transAxes, va="top", fontsize=8, color="0.35"
    )
    table = ax.table(
        cells,
        colLabels=heads,
        cellLoc="left",
        colLoc="left",
        bbox=(0, 0, 1, 1),
        colWidths=_shares(widths),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    _dress(table, ["head", *lines["role"]], [False, *lines["stands_out"]], _shares(heights))
    return ax, table


def _contents(rows, names):
    """Heads and cells of the columns that show the content of the rows."""
    if isinstance(rows[0], str):
        return ["text"], [[_wrapped(text)] for text in rows]
    n_features = len(rows[0])
    names = [f"x{i}" for i in range(n_features)] if names is None else list(map(str, names))
    if len(names) != n_features:
        raise ValueError(f"feature_names must hold {n_features} names, got {len(names)}.")
    shown = min(n_features, _MOST_FEATURES)
    more = [f"and {n_features - shown} more"] if n_features > shown else []
    cells = [[_number(value) for value in row[:shown]] + ["…"] * len(more) for row in rows]
    return names[:shown] + more, cells


def _wrapped(text):
    return fill(" ".join(text.split()), _WIDEST_TEXT, max_lines=_MOST_LINES, placeholder=" …")


def _number(value):
    try:
        return label_text(float(value))
    except (TypeError, ValueError):
        return str(value)


def _width(text):
    return max(map(len, text.split("\n")))


def _shares(numbers):
    return np.array(numbers) / sum(numbers)


def _dress(table, roles, stand_out, heights):
    for (row, column), cell in table.get_celld().items():
        role = roles[row]
        cell.set_height(heights[row])
        cell.visible_edges = "B" if role == "head" else "T" if role == "query" else ""
        cell.set_edgecolor("0.4")
        cell.PAD = 0.02
        cell.set_text_props(parse_math=False)
        if role in ("head", "query") or (stand_out[row] and column == 2):
            cell.set_text_props(fontweight="bold")
        elif role in COLOURS and column in (0, 3):
            cell.set_text_props(color=COLOURS[role])
