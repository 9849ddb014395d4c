"""Codes of the JSON-RPC errors that our transports put in the place of an answer, for `connection` to tell apart."""

UNKNOWN = -32997
"""No answer that means anything: the server may have done something."""
NOT_DONE = -32996
"""The request did not reach the server, or was refused before anything was done."""
SESSION_LOST = -32995
"""Not done, for the server has forgotten us: to be asked again in a new session."""
