"""Samplers and strategies for class imbalance."""

from skinmnist.resampling.registry import SAMPLERS, STRATEGIES, Resampler, make_sampler, resample

__all__ = ["SAMPLERS", "STRATEGIES", "Resampler", "make_sampler", "resample"]
