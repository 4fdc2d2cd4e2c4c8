"""Display: what all displays have in common."""


class Display:
    """Base class: a display draws in ``_plot(ax)``, which sets ``ax_`` to the first of its Axes."""

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
        self.figure_ = self.ax_.figure
        return self
