"""Gold traces written under the supervision of reports: writers of text, and the verifier that every trace passes."""
