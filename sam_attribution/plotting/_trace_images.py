"""Drawing of TraceDisplay for images: a line of images for every query, on one Axes."""

from textwrap import wrap

import numpy as np

from sam_attribution._image_shape import images_of
from sam_attribution.plotting._axes import axes_for
from sam_attribution.plotting._trace_lines import ARROW, COLOURS

_HEADS = {
    "query": "query",
    "harmed": "training rows that harmed it most",
    "helped": "training rows that helped it most",
}
_STEP, _GAP = 1.3, 0.45  # from one image to the next, and between query, harmful and helpful
_TEXT_LINE, _BETWEEN = 0.155, 0.35  # a line of text under an image, and the room below


def draw_images(ax, lines, rows, image_shape, caption):
    """Draw images, texts and a caption; return the Axes and the AxesImages."""
    images = [
        _drawable(row, image_shape, "X_query" if role == "query" else "X_train")
        for row, role in zip(rows, lines["role"], strict=True)
    ]
    places, width = _places(lines)
    caption = wrap(caption, int(16 * width))
    n_text_lines = max(text.count("\n") + 1 for text in lines["text"])
    height = 1.05 + _TEXT_LINE * n_text_lines + _BETWEEN
    top, foot = 1.4, 1.15 - height * lines["query"].nunique()  # an image is one inch high
    bottom = foot - _TEXT_LINE * len(caption)
    (ax,) = axes_for(ax, 1, size=(width + 0.3, top - bottom + 0.1))
    drawn = [
        _draw(ax, image, x, -number * height, line)
        for image, (number, x), line in zip(images, places, lines.itertuples(), strict=True)
    ]
    ax.text(0, foot, "\n".join(caption), fontsize=8, color="0.35", va="top")
    _head(ax, lines, places)
    ax.set(xlim=(-0.15, width), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    return ax, drawn


def _drawable(row, image_shape, name):
    """Array that ``imshow`` draws: shape (h, w), or (h, w, 3 or 4) with colours in range."""
    (image,) = images_of(row[np.newaxis], image_shape, name)
    return image[..., 0] if image.shape[-1] == 1 else _in_range(image)


def _in_range(image):
    """Image with colours that matplotlib can show, scaled from dark to bright if need be."""
    if image.dtype == np.uint8 or (image.min() >= 0 and image.max() <= 1):
        return image
    image = image.astype(float)
    low, high = image.min(), image.max()
    if low >= 0 and high <= 255 and high > 1:
        return image / 255
    return (image - low) / ((high - low) or 1)


def _places(lines):
    """Query number and left edge of every image, and the width of the whole."""
    query = (lines["role"] == "query").cumsum() - 1
    position = lines.groupby([query, "role"]).cumcount()
    lefts, x = position * _STEP, 0.0
    for role in COLOURS:
        of_role = lines["role"] == role
        if of_role.any():
            lefts[of_role] += x
            x += (position[of_role].max() + 1) * _STEP + _GAP
    return list(zip(query, lefts, strict=True)), x - _GAP


def _draw(ax, image, x, y, line):
    from matplotlib.patches import Rectangle

    grey = {"cmap": "gray_r"} if image.ndim == 2 else {}
    drawn = ax.imshow(image, extent=(x, x + 1, y, y + 1), interpolation="nearest", **grey)
    frame = Rectangle((x, y), 1, 1, fill=False, edgecolor=COLOURS[line.role], linewidth=2)
    ax.add_patch(frame)
    for number, text in enumerate(line.text.split("\n")):
        bold = line.stands_out and (ARROW in text or text.startswith("predicted"))
        style = {"ha": "center", "va": "top", "fontsize": 8, "parse_math": False}
        below = y - 0.06 - number * _TEXT_LINE
        ax.text(x + 0.5, below, text, fontweight="bold" if bold else "normal", **style)
    return drawn


def _head(ax, lines, places):
    for role, text in _HEADS.items():
        lefts = [x for (_, x), of in zip(places, lines["role"], strict=True) if of == role]
        if lefts:
            middle = (min(lefts) + max(lefts) + 1) / 2
            style = {"ha": "center", "va": "bottom", "fontweight": "bold", "fontsize": 9}
            ax.text(middle, 1.1, text, color=COLOURS[role], **style)
