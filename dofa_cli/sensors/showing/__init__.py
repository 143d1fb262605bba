"""What is known of sensors, for people, programs and pictures."""
