"""The search of a workflow that does a task, by what really comes of it."""
