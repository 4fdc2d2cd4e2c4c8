"""Display: what all displays have in common."""

import inspect

from sam_attribution._summary import summary_of


class Display:
    """Base class: a display draws in ``_plot(ax)``, which sets ``ax_`` to the first of its Axes."""

    def __repr__(self):
        """Name and settings; a notebook shows the figure itself, once, when it is drawn."""
        names = inspect.signature(type(self)).parameters
        settings = {name: getattr(self, name, None) for name in names}
        given = {name: value for name, value in settings.items() if value is not None}
        return summary_of(type(self).__name__, given)

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
