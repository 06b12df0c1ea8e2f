"""The ways in: HTTP API, pages, commands, worker, library. They translate and decide nothing."""
