"""What the admins of both apps stand on: lists and pages to look at, and the person who looks as an actor."""
