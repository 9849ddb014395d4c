"""pytest plugin of evolve-mend: single results as JSON lines, known failures first, an early end if no use.

Standard library only. MEND_RESULTS names the file to append to, MEND_FIRST a file with the ids to run first.
"""

import json
import os

import pytest


class _Reporter:
    session: pytest.Session

    def __init__(self, results: str, first: set[str]) -> None:
        self.results, self.first = results, first
        self.failed: set[str] = set()
        self.improved = self.pending = False

    def write(self, test: str, outcome: str) -> None:
        with open(self.results, "a", encoding="utf-8") as sink:
            sink.write(json.dumps({"id": test, "outcome": outcome}) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.nodeid not in self.first)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(report.nodeid, "failed")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        if report.when == "teardown":
            outcome = "failed" if report.nodeid in self.failed else "passed"
            self.improved = self.improved or (outcome == "passed" and report.nodeid in self.first)
            self.write(report.nodeid, outcome)

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        if self.first and nextitem is not None and item.nodeid in self.first:
            self.pending = nextitem.nodeid not in self.first
        return

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        broke = bool(self.first) and nodeid not in self.first and nodeid in self.failed
        hopeless = self.pending and not self.improved
        if broke or hopeless:
            self.session.shouldstop = "no better than before"

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("MEND_RESULTS") and not hasattr(config, "workerinput"):
        first: set[str] = set()
        if os.environ.get("MEND_FIRST"):
            with open(os.environ["MEND_FIRST"], encoding="utf-8") as source:
                first = set(json.load(source))
        config.pluginmanager.register(_Reporter(os.environ["MEND_RESULTS"], first), "evolve-mend")
