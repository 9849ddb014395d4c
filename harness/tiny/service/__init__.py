"""The tiny substrate: a service in the standard library."""
