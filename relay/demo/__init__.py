"""`agiris-relay demo`: the main job on real input. A real daemon, real SMTP on both sides, real PDFs, a real disk."""
