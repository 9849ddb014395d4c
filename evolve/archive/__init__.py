"""The candidates of a run as a population: what each showed on the visible cases, who leads, whose child comes next, and
which two are worth merging. Pure: it is made anew from stored stage outputs whenever a run goes on."""

from evolve.archive.entry import Entry, lead
from evolve.archive.merging import worth_merging
from evolve.archive.parents import choose_parent
from evolve.archive.ranking import rank

__all__ = ["Entry", "choose_parent", "lead", "rank", "worth_merging"]
