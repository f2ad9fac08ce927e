"""Measurements that `python scripts/bench` makes: on this machine, next to other toolkits where they are installed."""
