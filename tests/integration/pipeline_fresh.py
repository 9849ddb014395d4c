"""Hostile proposals by whoever has not built the gate, in the shape of pipeline_corpus.py: `HOSTILE` there is the example.

Each is played like those of the corpus: grouped with others when a check before the trial is to name it, by itself with
`alone=True`. A proposal that is offered, or whose record does not say every word of `why`, fails its test.
"""

from pipeline_world import Proposal

FRESH: tuple[Proposal, ...] = ()
