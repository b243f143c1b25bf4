"""Randomised schedules: programs made up from a seed, recorded, replayed, and judged from outside."""
