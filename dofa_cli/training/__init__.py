"""Masked pretraining: data, losses, teachers, schedule, loop and state.

Functions that take a model, batches and an optimiser; there is no framework of our own. Everything random follows from
the seed and the number of the step, so that a run that was stopped goes on as if it had not been.
"""
