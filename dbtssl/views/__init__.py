"""Views: geometry in the worker, photometry on the device."""
