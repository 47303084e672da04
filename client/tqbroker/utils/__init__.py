"""Helpers under Celery's module names."""
