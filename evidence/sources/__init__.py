"""Where evidence comes from: one adapter a file, all over the same durable cursor."""
