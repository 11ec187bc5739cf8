"""Baselines: PSNR to ST-LPIPS."""
