"""What a model file must pass, and what is fitted and measured on its own outputs."""
