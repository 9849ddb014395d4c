from promote.capabilities import DYNAMIC_CALLS, IN_WORDS, REACH, capabilities, difference, in_words


def test_reach_is_read_from_imports_and_calls() -> None:
    source = "import os, socket\nfrom urllib.request import urlopen\nx = eval('1')\n"
    assert capabilities(source) == {"network:socket", "network:urllib", "dynamic_code:eval"}


def test_a_difference_counts_what_is_new_to_the_changed_files_together() -> None:
    before = {"a.py": "import socket\n", "b.py": ""}
    after = {"a.py": "", "b.py": "import socket, subprocess\n"}
    assert difference(before, after) == {"added": ["processes:subprocess"], "removed": []}


def test_a_file_that_does_not_parse_claims_nothing() -> None:
    assert capabilities("def (") == set()


def test_every_capability_has_words() -> None:
    assert set(IN_WORDS) == {*REACH, "dynamic_code"}
    assert in_words("network:socket") == "talk to other machines (imports socket)"
    for call in DYNAMIC_CALLS:
        assert in_words(f"dynamic_code:{call}").endswith(f"(calls {call}())")
