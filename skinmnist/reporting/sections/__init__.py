"""The sections of the report: one module beside one template each."""
