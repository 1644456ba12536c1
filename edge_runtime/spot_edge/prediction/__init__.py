"""From scores to a prediction: ranking, triage, prediction set, OOD distance, bursts, heat maps and wording."""
