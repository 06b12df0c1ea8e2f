"""Letters: what our mail says, as plain text and as HTML.

Owns the words and the templates. It knows events and payments as they were stored, decides nothing
about who gets a letter, and sends none.
"""
