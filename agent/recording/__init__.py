"""One recording, from what is wanted to the profile."""
