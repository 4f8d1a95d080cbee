"""The neutral profile: interned frames, locations and stacks; samples with values and labels.

This package imports nothing else of Goroscope: every other stage may speak its types.
"""
