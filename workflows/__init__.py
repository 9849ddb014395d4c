"""Typed tool workflows: data that is checked before it runs."""
