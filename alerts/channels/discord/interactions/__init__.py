"""What people press under cards on Discord: endpoint.py checks the signature,
receiving.py stores and answers within three seconds, verdicts.py judges a press. It
must not know how cards are delivered. Start reading at endpoint.py.
"""
