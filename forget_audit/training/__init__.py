"""Training and retraining: recipes, many models at once, and what is remembered."""
