"""Stripe: client (calls out), signature (verify), translate (their message → facts), README."""

from bursar.providers.stripe.client import Stripe

__all__ = ["Stripe"]
