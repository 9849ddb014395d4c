"""A request, a planner that errs, and tools: several plans are read, brought together, repaired, run, and asked for again
where that did not do."""
