"""A campaign of odd and damaged inputs against the command line."""
