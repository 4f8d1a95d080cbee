"""What stands between encoded payloads and their destinations: retries, the disk spool, one queue each."""
