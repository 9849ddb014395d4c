"""From a workflow and the configurations of its steps to a measured Pareto set (`workflows.points`).

`space` says what can be configured; `meter` counts what calls take; `bench` plays configurations on cases; `profile` keeps
what each step takes under each of its alternatives; `estimate` composes that along the graph; `front` looks for what is
worth measuring; `compiling` does it all in order.
"""
