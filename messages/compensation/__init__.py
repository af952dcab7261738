"""Compensation: undoing what a failed message already did, step by step, in reverse order, each with its proof."""
