"""Improves the shipped workflows of a repository by search, judged by replays of the visible cases. Runs in a coder's
sandbox; it reads data, calls no tool and no model."""
