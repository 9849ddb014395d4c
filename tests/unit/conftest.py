"""For all unit tests: what their imports made stays, and need not be looked through for garbage again and again."""

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
