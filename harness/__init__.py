"""The reference substrate: an agent service that may be evolved. See docs/harness.md."""
