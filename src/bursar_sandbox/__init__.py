"""Plays the payment providers on their own wire formats, offline. Imports nothing of `bursar`."""
