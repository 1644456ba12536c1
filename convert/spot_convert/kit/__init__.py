"""The kit for those who embed a model file in an app of their own, and the check of what their app answers."""
