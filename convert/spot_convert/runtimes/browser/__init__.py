"""A file's answers in a web browser: LiteRT.js in a Chromium without a window, fed over the loopback."""
