"""Predict in a web browser: LiteRT.js in a headless Chromium that loads its page from this machine."""
