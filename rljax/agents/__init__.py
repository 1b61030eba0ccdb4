"""Learners: each file makes one family of `Algorithm`s and keeps its inner functions public."""

from rljax.agents.reinforce import reinforce as reinforce
