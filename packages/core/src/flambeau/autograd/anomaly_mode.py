"""Anomaly mode under the module's name that PyTorch gives it."""

from flambeau.autograd.anomaly import detect_anomaly, set_detect_anomaly

__all__ = ["detect_anomaly", "set_detect_anomaly"]
