"""Experiments on combinations of known elements that training never showed."""
