"""Baselines: full-reference metrics of whole images, from PSNR to ST-LPIPS."""
