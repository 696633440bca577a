"""Trained models on the disk: checkpoints, their checksums, and a training's folder."""
