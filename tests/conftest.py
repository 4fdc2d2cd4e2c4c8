import gc

from hypothesis import settings

# A deadline measures the machine, not the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure():
    """Thousands of tests are made and none is dropped: there is no garbage to look for."""
    gc.disable()


def pytest_collection_finish():
    """What was imported and collected stays to the end: later collections pass it over."""
    gc.freeze()
    gc.enable()
