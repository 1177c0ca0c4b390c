"""What runs beside the fleet: services embedded on this machine, and how they are operated."""
