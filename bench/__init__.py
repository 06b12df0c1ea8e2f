"""Benchmarks: the product beside a yardstick in the same run, told as ratios.

Owns the load, the yardsticks and the sums. It never asserts a time and never touches a database
but its own throw-away one.
"""
