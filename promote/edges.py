"""Which edge stands in front: our own relay, or HAProxy."""

from collections.abc import Mapping
from pathlib import Path

from promote.edge import Edge, EmbeddedEdge
from promote.haproxy import HAProxyEdge
from promote.settings import EdgeKind

EDGE_MODULES: Mapping[EdgeKind, str] = {"embedded": "promote.edge", "haproxy": "promote.haproxy"}
"""What `python -m` starts; each takes the same EdgeConfig."""


def edge_at(kind: EdgeKind, control: Path, state_file: Path | None) -> Edge:
    """The running edge, as the promoter sees it; the paths as its EdgeConfig says. HAProxy needs both."""
    if kind == "embedded":
        return EmbeddedEdge(control)
    assert state_file is not None
    return HAProxyEdge(control, state_file)
