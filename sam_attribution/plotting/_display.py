"""Display: what all displays have in common."""


class Display:
    """Base class: a display draws in ``_plot(ax)``, which sets ``ax_`` to the first of its Axes."""

    @property
    def figure_(self):
        """Figure that was drawn on."""
        return self.ax_.figure

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : Axes, sequence of Axes or None, default=None
            Axes to draw on, one for each panel; None makes a figure of the right size.

        Returns
        -------
        Display
            The display itself.
        """
        self._plot(ax)
        return self
