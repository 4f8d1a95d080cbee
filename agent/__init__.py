"""The programs: commands, the recorder and the pipeline from raw windows to profiles."""

__version__ = "0.1.0"
