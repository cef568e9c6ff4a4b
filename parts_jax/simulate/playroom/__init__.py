"""A child's room that an agent walks about in, after the Playroom."""
