from evolve.capabilities import capabilities, difference


def test_reach_is_read_from_imports_and_calls() -> None:
    source = "import os, socket\nfrom urllib.request import urlopen\nx = eval('1')\n"
    assert capabilities(source) == {"network:socket", "network:urllib", "dynamic_code:eval"}


def test_a_difference_counts_what_is_new_to_the_changed_files_together() -> None:
    before = {"a.py": "import socket\n", "b.py": ""}
    after = {"a.py": "", "b.py": "import socket, subprocess\n"}
    assert difference(before, after) == {"added": ["processes:subprocess"], "removed": []}


def test_a_file_that_does_not_parse_claims_nothing() -> None:
    assert capabilities("def (") == set()
