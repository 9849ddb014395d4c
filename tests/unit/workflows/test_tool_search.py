"""Search finds the tool that a few words are about, among hundreds, and always in the same order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.tool_search import search, words

VERBS = {
    "create": "Make a new",
    "delete": "Remove a",
    "list": "Show every",
    "update": "Change a",
    "get": "Look up one",
}
THINGS = (
    "invoice order customer shipment payment refund ticket calendar event email contact note task project branch release "
    "issue milestone label webhook dashboard alert report budget expense employee contract vendor product warehouse"
)


def hundreds() -> Catalog:
    return catalog(
        ToolSpec(
            "crm" if index % 2 else "erp",
            f"{verb}_{thing}",
            f"{said} {thing}.",
            {"properties": {f"{thing}_id": {}}},
        )
        for index, thing in enumerate(THINGS.split(" "))
        for verb, said in VERBS.items()
    )


def fit(text: str, *specs: ToolSpec) -> list[str]:
    return [spec.key for spec in search(catalog(specs), text)]


def test_names_are_words() -> None:
    assert words("readFile read_file reading files") == ["read", "fil", "read", "fil", "read", "fil"]
    assert words("getHTTPResponse2") == ["get", "http", "respons", "2"]
    assert words("move moving moved queries query the classes") == [
        "mov",
        "mov",
        "mov",
        "query",
        "query",
        "class",
    ]
    assert words("Straße größer 東京") == ["straß", "größer", "東京"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("thing", ["invoice", "milestone", "employee"])
def test_the_right_one_of_hundreds_comes_first(verb: str, thing: str) -> None:
    many = hundreds()
    assert len(many) == 150
    assert search(many, f"{verb} the {thing}", 3)[0].name == f"{verb}_{thing}"
    assert search(many, f"please {verb} all {thing}s", 3)[0].name == f"{verb}_{thing}"


def test_the_name_says_more_than_the_description_and_arguments_say_something() -> None:
    named, described = (
        ToolSpec("s", "send_email"),
        ToolSpec("s", "notify", "Tells somebody, by email or otherwise."),
    )
    argued = ToolSpec("s", "post", input_schema={"properties": {"email_address": {}}})
    other = ToolSpec("s", "erase")
    assert fit("email", argued, described, other, named) == ["s/send_email", "s/post", "s/notify"]


def test_a_rare_word_says_more_than_one_that_every_tool_has() -> None:
    common = [ToolSpec("s", f"list_{thing}") for thing in ("apples", "bears", "cars", "doors")]
    assert fit("list invoices", *common, ToolSpec("s", "print_invoice"))[0] == "s/print_invoice"


def test_nobody_is_found_by_writing_a_book() -> None:
    book = ToolSpec("s", "book", "weather " * 5000)
    assert fit("weather", book, ToolSpec("s", "get_weather", "The weather of a place."))[0] == "s/get_weather"


def test_no_word_no_tool() -> None:
    many = hundreds()
    assert search(many, "zebra") == search(many, "") == search(many, "the of") == search(Catalog(), "x") == []
    assert search(many, "invoice", 0) == []
    assert len(search(many, "invoice", 2)) == 2


@given(
    st.lists(
        st.builds(
            ToolSpec,
            st.sampled_from("ab"),
            st.text("abc_", min_size=1, max_size=6),
            st.text("abc ", max_size=9),
        )
    )
)
def test_the_order_of_the_catalog_does_not_show(specs: list[ToolSpec]) -> None:
    once = {spec.key: spec for spec in specs}
    there, back = catalog(once.values()), catalog(reversed(once.values()))
    found = search(there, "a ab cb", 99)
    assert found == search(back, "a ab cb", 99)
    assert len({spec.key for spec in found}) == len(found)
