"""The `zsiqa` command: one file a command."""
