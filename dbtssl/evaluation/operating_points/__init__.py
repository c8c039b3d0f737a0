"""ROC curves, operating points, and rules that choose a threshold."""
