"""The processes that are sampled: what they have mapped, the rows of their files, and threads that wait already."""
