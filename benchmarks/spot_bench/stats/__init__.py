"""Statistics: metrics, intervals, tests, calibration, conformal prediction."""
