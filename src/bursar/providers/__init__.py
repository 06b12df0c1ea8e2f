"""Payment providers: a room for each, alike inside, and the port that billing sees of them."""
