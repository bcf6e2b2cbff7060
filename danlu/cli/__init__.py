"""What people type. Thin: every verb imports what it needs when it is called, so that help is
there at once and only verbs that compute load torch."""
