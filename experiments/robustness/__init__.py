"""How much of its scores a trained network keeps where the audio is changed."""
