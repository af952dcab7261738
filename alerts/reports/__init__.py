"""Reports of promises for people without the console: what was kept, what failures cost, what was done."""
