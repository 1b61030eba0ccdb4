"""Experiments: one question per file, each one command (`python -m experiments NAME`)."""
