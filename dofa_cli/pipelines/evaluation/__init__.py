"""Heads on labels that they were not trained with."""
