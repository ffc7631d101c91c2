"""The few small pieces that two or more apps share; imports nothing else of ours."""
