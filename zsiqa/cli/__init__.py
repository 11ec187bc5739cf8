"""The `zsiqa` command: one module per subcommand."""
