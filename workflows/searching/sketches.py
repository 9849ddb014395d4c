"""Something to begin with where nobody has planned: one call each of the tools that a request is about, as bare as it gets.
Mending gives them what the request says."""

from workflows.catalog import Catalog
from workflows.graph import OutputNode, ToolNode, Workflow
from workflows.tool_search import search

MOST = 5


def sketches(request: str, catalog: Catalog, most: int = MOST) -> list[Workflow]:
    """The last one calls nothing."""
    nothing = Workflow("plan", "", (OutputNode(id="answer", text=""),))
    steps = [ToolNode(id="s1", tool=spec.key) for spec in search(catalog, request, most)]
    return [*(Workflow("plan", "", (step, *nothing.nodes)) for step in steps), nothing]
