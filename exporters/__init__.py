"""From profiles to bytes: encoders, one file a format."""
