"""The one version of every flambeau package."""

__version__ = "0.1.0"
