"""Pictures of the program, drawn from its code; `scripts/diagrams` keeps them in docs."""
