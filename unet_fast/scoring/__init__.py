"""What `python -m unet_fast.evaluate` is made of: find, read, score, report and draw."""
