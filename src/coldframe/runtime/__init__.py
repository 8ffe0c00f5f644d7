"""Running graphs: sessions, plans, state, models."""
