"""A pretraining run: its images, network, folder and card."""
