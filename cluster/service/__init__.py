"""The service: runs and rewards over HTTP, on Ray Serve."""
