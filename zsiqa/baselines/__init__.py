"""The full-reference metrics that the paper compares with, on whole images: docs/protocol.md section 9."""
