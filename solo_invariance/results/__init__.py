"""Result files: who writes a schema reads it."""
