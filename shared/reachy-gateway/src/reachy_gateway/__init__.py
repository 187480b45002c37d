"""What every gateway does, whatever voice it has."""
