"""What has nothing to do with speech: files, formats, threads, signals, compiled code, libraries."""
