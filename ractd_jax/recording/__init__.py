"""Behaviour policies, and the datasets that are recorded with them."""
