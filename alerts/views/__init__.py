"""The pages of alerts: destinations with their routes, and the log of deliveries. Start
reading at destinations.py.
"""
