"""Penalised regressions over whole grids of penalties and folds at once, and what chooses among them."""
