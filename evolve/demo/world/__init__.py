"""The demo's world: a shop's tool server, a deterministic model server, and what the shop requires of its desk."""
