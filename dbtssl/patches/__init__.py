"""Where patches lie: to score every slice, to train on, matched to lesions, and for monitors."""
