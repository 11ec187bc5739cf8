"""The commands of `zsiqa`, a file each."""
