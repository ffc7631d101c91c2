"""Pages of alerts: destinations, routes, and the log of deliveries. Start reading at
destinations.py.
"""
