"""The pages of the policy: rules and their draft, the editor, groups, the playground
and ready-made policies.
"""
