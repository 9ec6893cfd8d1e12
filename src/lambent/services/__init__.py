"""One folder per AWS service. Services never import each other; what they share is a lower room."""
