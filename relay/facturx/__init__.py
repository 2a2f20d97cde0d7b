"""Is this PDF a good Factur-X? Pure: bytes in, a Report out."""
