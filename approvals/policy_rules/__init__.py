"""The pages of the policy: rules and their draft, the editor, groups, and ready-made
policies.
"""
