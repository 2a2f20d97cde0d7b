"""What the client asked for: who the client is, what each part of the mail is, and what becomes of it."""
