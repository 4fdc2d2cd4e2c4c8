"""Tables of figures as they stand in the documentation."""


def simple_table(frame):
    """The frame, with its index, as a simple table of reStructuredText."""
    frame = frame.reset_index()
    lines = [[str(name) for name in frame.columns]]
    lines += [[short(cell) for cell in row] for row in frame.itertuples(index=False)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([rule, rows[0], rule, *rows[1:], rule])


def short(number):
    """Three decimals."""
    return f"{round(number, 3) + 0.0:.3f}" if isinstance(number, float) else str(number)
