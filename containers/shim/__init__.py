"""The fixed first process of every sandbox (PID 1): standard library only, imports nothing of this project.

It is copied into `$EVOLVE_HOME/shims/<hash>/shim` and runs there under `python -I -S`; its hash is part of
every image's digest. No candidate code is ever imported by PID 1 itself: candidates run in forked or executed
children.
"""
