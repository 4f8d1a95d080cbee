"""The programs: commands, the recorder and the pipeline from raw windows to profiles."""
