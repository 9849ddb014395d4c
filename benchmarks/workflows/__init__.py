"""Tasks over six real MCP servers, a weak planner that errs as a compact model errs, and the arms that are compared on
them."""
