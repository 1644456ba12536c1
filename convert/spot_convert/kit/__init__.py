"""The conformance kit for developers who embed a model in their app, and the check of the app's results."""
