"""What people read: every word in two languages, and numbers and times as they are written. Knows no page."""
