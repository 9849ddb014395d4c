"""Repair by search: generic edits on the syntax tree, judged by a test command. Needs no model.

`evolve.mend.search.mend(repo, runner, config)` is the library's door, `evolve-mend` the command's.
The operators know Python and nothing of any program: everything specific is mined from the repository itself.
"""
