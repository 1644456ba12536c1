"""From scores to a prediction: ranking, triage, prediction sets, bursts, heat maps and wording."""
