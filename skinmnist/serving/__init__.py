"""A page of one's own: pictures in by hand, answers of one model out; nothing is stored."""
