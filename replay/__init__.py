"""Matching, order, alignment and divergence: how a recording answers a program, and where the two part."""
