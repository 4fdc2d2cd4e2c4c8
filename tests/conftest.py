import gc

import pytest
from hypothesis import settings

# A deadline measures the machine, not the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays to the end: there is no garbage to look for in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """The longest come first: no process ends with one of them while the others have nothing."""
    items.sort(key=lambda item: item.path.name not in ("test_examples.py", "test_processes.py"))
