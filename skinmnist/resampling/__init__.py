"""Samplers and strategies for class imbalance."""

from skinmnist.resampling.registry import Resampler, make_sampler, resample
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES

__all__ = ["SAMPLERS", "STRATEGIES", "Resampler", "make_sampler", "resample"]
