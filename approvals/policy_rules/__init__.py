"""The pages of the policy: rules and their draft, the editor, and groups."""
