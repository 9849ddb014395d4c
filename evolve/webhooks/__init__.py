"""Telling others what happened: one signed POST a transition, read from the ledgers, kept until it was taken."""
