"""Score a data set: python run.py backbone=dinov1 distance=wsd dataset=pipal (see --help)."""

from zsiqa.runs.runner import main

if __name__ == "__main__":
    main()
